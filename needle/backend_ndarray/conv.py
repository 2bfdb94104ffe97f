"""Two-dimensional convolution of channels-last images, and its two derivatives.

x (N, H, W, C_in), weight (K_h, K_w, C_in, C_out), out (N, H', W', C_out) with H' = (H + 2 padding - K_h) // stride + 1:

    out[n, i, j, f] = sum over h, w, c of x[n, i*stride + h - padding, j*stride + w - padding, c] * weight[h, w, c, f]
"""

from __future__ import annotations

from typing import TypeVar

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape
from needle.backend_ndarray.spec import Shaped, Spec, require_floating
from needle.errors import ShapeError

MAX_STEP = 2**31  # the largest stride, padding and kernel, as kernels add them to extents and multiply them


def window_count(op: str, extent: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows of `kernel` fit along an axis. Raises ShapeError if none does."""
    kernel = whole(op, "kernel", kernel, 1)
    stride, padding = whole(op, "stride", stride, 1), whole(op, "padding", padding)
    if max(kernel, stride, padding) > MAX_STEP:
        raise ShapeError(f"{op}: kernel {kernel}, stride {stride}, padding {padding}: expected at most 2**31")
    if extent + 2 * padding < kernel:
        raise ShapeError(f"{op}: a kernel of {kernel} does not fit into {extent} pixels with a padding of {padding}")
    return (extent + 2 * padding - kernel) // stride + 1


def infer_conv2d(x: Shaped, weight: Shaped, stride: int, padding: int, bias: Shaped | None = None) -> Spec:
    """The shape above and the operands' dtype; bias is (C_out,)."""
    if len(x.shape) != 4 or len(weight.shape) != 4 or x.shape[3] != weight.shape[2]:
        raise ShapeError(
            f"conv2d: images {x.shape} and weights {weight.shape}: expected (N, H, W, C_in) and (K, K, C_in, C_out)"
        )
    if bias is not None and bias.shape != weight.shape[3:]:
        raise ShapeError(f"conv2d: weights {weight.shape} and a bias {bias.shape}: expected {weight.shape[3:]}")
    n, height, width, _ = x.shape
    rows = window_count("conv2d", height, weight.shape[0], stride, padding)
    columns = window_count("conv2d", width, weight.shape[1], stride, padding)
    return Spec((n, rows, columns, weight.shape[3]), require_floating("conv2d", *_operands(x, weight, bias)))


def conv2d(x: NDArray, weight: NDArray, stride: int = 1, padding: int = 0, bias: NDArray | None = None) -> NDArray:
    """The convolution above, plus bias (C_out,) if given."""
    stride, padding = whole("conv2d", "stride", stride, 1), whole("conv2d", "padding", padding)
    operands = _operands(x, weight, bias)
    same_device("conv2d", *operands)
    out = ndarray.empty(*infer_conv2d(x, weight, stride, padding, bias), x.device)
    call(x.device, "conv2d" if bias is None else "conv2d_bias", *operands, out, stride, padding)
    return out


_Operand = TypeVar("_Operand", NDArray, Shaped)


def _operands(x: _Operand, weight: _Operand, bias: _Operand | None) -> tuple[_Operand, ...]:
    return (x, weight) if bias is None else (x, weight, bias)


def conv2d_backward_data(
    grad_out: NDArray, weight: NDArray, x_shape: Shape, stride: int = 1, padding: int = 0
) -> NDArray:
    """The gradient with respect to x, of shape `x_shape`."""
    same_device("conv2d_backward_data", grad_out, weight)
    _check_grad("conv2d_backward_data", grad_out, Spec(tuple(x_shape), weight.dtype), weight, stride, padding)
    grad_x = ndarray.empty(x_shape, weight.dtype, grad_out.device)
    call(grad_out.device, "conv2d_backward_data", grad_out, weight, grad_x, stride, padding)
    return grad_x


def conv2d_backward_weight(
    x: NDArray, grad_out: NDArray, weight_shape: Shape, stride: int = 1, padding: int = 0
) -> NDArray:
    """The gradient with respect to weight, of shape `weight_shape`."""
    same_device("conv2d_backward_weight", x, grad_out)
    _check_grad("conv2d_backward_weight", grad_out, x, Spec(tuple(weight_shape), x.dtype), stride, padding)
    grad_weight = ndarray.empty(weight_shape, x.dtype, x.device)
    call(x.device, "conv2d_backward_weight", x, grad_out, grad_weight, stride, padding)
    return grad_weight


def _check_grad(op: str, grad_out: NDArray, x: Shaped, weight: Shaped, stride: int, padding: int) -> None:
    expected = infer_conv2d(x, weight, stride, padding)
    if grad_out.shape != expected.shape or grad_out.dtype is not expected.dtype:
        raise ShapeError(
            f"{op}: a gradient of shape {grad_out.shape} and dtype {grad_out.dtype}: "
            f"expected {expected.shape} and {expected.dtype}"
        )
