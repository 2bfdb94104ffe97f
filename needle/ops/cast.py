"""Conversions between dtypes."""

from __future__ import annotations

from needle.autograd import Op, Tensor, require_tensors
from needle.backend_ndarray import NDArray
from needle.backend_ndarray.dtype import DType, as_dtype, bfloat16, float16, float32


class Cast(Op):
    """a in another dtype. The gradient has a's dtype; a cast from or to integers or bools has none."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = as_dtype(dtype, "cast")
        self.differentiable = self.dtype.kind == "floating"

    def compute(self, a: NDArray) -> NDArray:
        return a.astype(self.dtype)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor | None:
        a = node.inputs[0]
        return cast(out_grad, a.dtype) if a.dtype.kind == "floating" else None


def cast(a: Tensor, dtype: str | DType) -> Tensor:
    """a in another dtype; a itself if it already has that dtype."""
    require_tensors("cast", a)
    dtype = as_dtype(dtype, "cast")
    return a if dtype is a.dtype else Cast(dtype)(a)


def widened(a: Tensor) -> Tensor:
    """a in float32 if it is of a half type, so that several operations on it round only once, in the cast back.

    A gradient need not be cast back: a backward pass casts every adjoint to its value's dtype.
    """
    return cast(a, float32) if a.dtype in (float16, bfloat16) else a
