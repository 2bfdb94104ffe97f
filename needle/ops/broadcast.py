"""Operands of different shapes and kinds: what comes before and after a broadcast."""

from __future__ import annotations

from needle.autograd import Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray import ndarray
from needle.ops.reduce import summation
from needle.ops.shape import reshape


def unbroadcast(grad: Tensor, like: Tensor) -> Tensor:
    """The transpose of a broadcast: sums `grad` over the axes along which `like` was repeated."""
    if grad.shape == like.shape:
        return grad
    new_axes = grad.ndim - like.ndim
    repeated = [new_axes + i for i, extent in enumerate(like.shape) if extent == 1 and grad.shape[new_axes + i] != 1]
    axes = (*range(new_axes), *repeated)
    return reshape(summation(grad, axes) if axes else grad, like.shape)


def as_tensor(x, like: Tensor) -> Tensor:
    """A number or array as a Tensor beside `like`, without gradient."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (bool, int, float)):
        spec = array_api.infer_binary("add", like, x)
        return Tensor.make_const(ndarray.full((), x, spec.dtype, like.device))
    return Tensor(x, device=like.device, requires_grad=False)


def is_number(x) -> bool:
    """Whether x is a single number, Python's or NumPy's."""
    return not isinstance(x, Tensor) and not hasattr(x, "__len__") and getattr(x, "shape", ()) == ()


def zeros_like(a: Tensor) -> Tensor:
    """Zeros with the shape, dtype and device of a; no gradient."""
    return Tensor.make_const(ndarray.full(a.shape, 0, a.dtype, a.device))


def ones_like(a: Tensor) -> Tensor:
    """Ones with the shape, dtype and device of a; no gradient."""
    return Tensor.make_const(ndarray.full(a.shape, 1, a.dtype, a.device))
