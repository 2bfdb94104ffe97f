"""Pooling of channels-last images (N, H, W, C) over kernel x kernel windows."""

from __future__ import annotations

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.conv import window_count
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape
from needle.backend_ndarray.spec import Shaped, Spec, require_floating
from needle.errors import ShapeError


def infer_pool2d(op: str, x: Shaped, kernel: int, stride: int, padding: int) -> Spec:
    """(N, H', W', C) with H' = (H + 2 padding - kernel) // stride + 1."""
    if len(x.shape) != 4:
        raise ShapeError(f"{op}: images {x.shape}: expected (N, H, W, C)")
    kernel, stride, padding = _settings(op, kernel, stride, padding)
    if 2 * padding > kernel:
        raise ShapeError(f"{op}: a padding of {padding}: expected at most half the kernel of {kernel}")
    n, height, width, channels = x.shape
    rows = window_count(op, height, kernel, stride, padding)
    columns = window_count(op, width, kernel, stride, padding)
    return Spec((n, rows, columns, channels), require_floating(op, x))


def _settings(op: str, kernel: int, stride: int, padding: int) -> tuple[int, int, int]:
    return whole(op, "kernel", kernel, 1), whole(op, "stride", stride, 1), whole(op, "padding", padding)


def max_pool2d(x: NDArray, kernel: int, stride: int, padding: int = 0) -> NDArray:
    """The largest element of each window; padding is ignored."""
    same_device("max_pool2d", x)
    kernel, stride, padding = _settings("max_pool2d", kernel, stride, padding)
    out = ndarray.empty(*infer_pool2d("max_pool2d", x, kernel, stride, padding), x.device)
    call(x.device, "max_pool2d", x, out, kernel, stride, padding)
    return out


def max_pool2d_backward(x: NDArray, grad_out: NDArray, kernel: int, stride: int, padding: int = 0) -> NDArray:
    """The gradient with respect to x: the gradient of each window goes to its first largest element."""
    grad_x = ndarray.empty(x.shape, x.dtype, x.device)
    call(x.device, "max_pool2d_backward", x, grad_out, grad_x, kernel, stride, padding)
    return grad_x


def avg_pool2d(x: NDArray, kernel: int, stride: int, padding: int = 0) -> NDArray:
    """The mean of each window, counting the padding's zeros."""
    same_device("avg_pool2d", x)
    kernel, stride, padding = _settings("avg_pool2d", kernel, stride, padding)
    out = ndarray.empty(*infer_pool2d("avg_pool2d", x, kernel, stride, padding), x.device)
    call(x.device, "avg_pool2d", x, out, kernel, stride, padding)
    return out


def avg_pool2d_backward(grad_out: NDArray, x_shape: Shape, kernel: int, stride: int, padding: int = 0) -> NDArray:
    """The gradient with respect to x, of shape `x_shape`."""
    grad_x = ndarray.empty(x_shape, grad_out.dtype, grad_out.device)
    call(grad_out.device, "avg_pool2d_backward", grad_out, grad_x, kernel, stride, padding)
    return grad_x
