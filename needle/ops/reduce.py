"""Reductions. `axes` is an int, a tuple, or None for all; the result does not have the reduced axes."""

from __future__ import annotations

import math

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import reduce as array_api
from needle.backend_ndarray.dtype import float32, float64, int64
from needle.backend_ndarray.shape import Axes, normalize_axes
from needle.backend_ndarray.spec import Shaped, Spec
from needle.ops.broadcast import expand_reduced, sum
from needle.ops.cast import widened
from needle.ops.compare import where


class Mean(Op):
    """The sum divided by the count; for half types the sum is float32, so that only the mean is rounded."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def infer(self, a: Shaped) -> Spec:
        spec = array_api.infer_reduce("sum", a, normalize_axes("mean", self.axes, len(a.shape)))
        return spec if spec.dtype.kind == "floating" else spec._replace(dtype=float32)

    def compute(self, a: NDArray) -> NDArray:
        dtype, axes = self.infer(a).dtype, normalize_axes("mean", self.axes, a.ndim)
        a = a.astype(float64) if a.dtype is int64 else a  # an int64 sum might wrap around
        return (array_api.sum(a, axes, wide=True) / self._count(a)).astype(dtype)

    def _count(self, a: Shaped) -> int:
        return math.prod(a.shape[i] for i in normalize_axes("mean", self.axes, len(a.shape)))

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        return expand_reduced(out_grad / self._count(a), a, self.axes)


class _ExtremeElement(Op):
    """The largest or smallest element; ties, or several NaNs, share the gradient evenly."""

    kernel: str

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def infer(self, a: Shaped) -> Spec:
        return array_api.infer_reduce(self.kernel, a, self.axes)

    def compute(self, a: NDArray) -> NDArray:
        out: NDArray = getattr(array_api, self.kernel)(a, self.axes)
        return out

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        out_grad, largest = widened(out_grad), expand_reduced(node, a, self.axes)
        chosen = where(largest == largest, a == largest, a != a)
        share = out_grad / sum(chosen, self.axes)
        return where(chosen, expand_reduced(share, a, self.axes), 0)


class Max(_ExtremeElement):
    kernel = "max"


class Min(_ExtremeElement):
    kernel = "min"


def mean(a: Tensor, axes: Axes = None) -> Tensor:
    """The mean over axes, NaN if there are no elements; float32 for integers and bools."""
    return Mean(axes)(a)


def max(a: Tensor, axes: Axes = None) -> Tensor:
    """The largest element over axes, or NaN if any is NaN."""
    return Max(axes)(a)


def min(a: Tensor, axes: Axes = None) -> Tensor:
    """The smallest element over axes, or NaN if any is NaN."""
    return Min(axes)(a)
