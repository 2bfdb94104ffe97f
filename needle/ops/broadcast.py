"""The gradient of a broadcast, and constants shaped like a Tensor."""

from __future__ import annotations

from needle.autograd import Tensor, require_tensors
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


def zeros_like(a: Tensor) -> Tensor:
    """Zeros with the shape, dtype and device of a; no gradient."""
    require_tensors("zeros_like", a)
    return Tensor.make_const(ndarray.full(a.shape, 0, a.dtype, a.device))


def ones_like(a: Tensor) -> Tensor:
    """Ones with the shape, dtype and device of a; no gradient."""
    require_tensors("ones_like", a)
    return Tensor.make_const(ndarray.full(a.shape, 1, a.dtype, a.device))
