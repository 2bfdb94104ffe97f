"""Reductions. `axes` is an int, a tuple, or None for all; the result does not have the reduced axes."""

from __future__ import annotations

from collections.abc import Callable

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import reduce as array_api
from needle.backend_ndarray.dtype import float32, float64, int64
from needle.backend_ndarray.shape import Axes, normalize_axes
from needle.ops.broadcast import expand_reduced, sum
from needle.ops.cast import widened
from needle.ops.compare import where


class Mean(Op):
    """The sum divided by the count; for half types the sum is float32, so that only the mean is rounded."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def compute(self, a: NDArray) -> NDArray:
        axes = normalize_axes("mean", self.axes, a.ndim)
        total = array_api.sum(a.astype(float64) if a.dtype is int64 else a, axes, wide=True)  # int64 could wrap around
        return (total / _count(a, total)).astype(a.dtype if a.dtype.kind == "floating" else float32)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        return expand_reduced(out_grad / _count(a, node), a, self.axes)


def _count(a: NDArray | Tensor, reduced: NDArray | Tensor) -> int:
    """The number of elements of a for each element of its reduction."""
    return a.size // (reduced.size or 1)


class _ExtremeElement(Op):
    """The largest or smallest element; ties, or several NaNs, share the gradient evenly."""

    function: Callable[[NDArray, Axes], NDArray]  # of arrays

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def compute(self, a: NDArray) -> NDArray:
        return self.function(a, self.axes)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        out_grad, largest = widened(out_grad), expand_reduced(node, a, self.axes)
        chosen = where(largest == largest, a == largest, a != a)
        share = out_grad / sum(chosen, self.axes)
        return where(chosen, expand_reduced(share, a, self.axes), 0)


class Max(_ExtremeElement):
    function = staticmethod(array_api.max)


class Min(_ExtremeElement):
    function = staticmethod(array_api.min)


def mean(a: Tensor, axes: Axes = None) -> Tensor:
    """The mean over axes, NaN if there are no elements; float32 for integers and bools."""
    return Mean(axes)(a)


def max(a: Tensor, axes: Axes = None) -> Tensor:
    """The largest element over axes, or NaN if any is NaN."""
    return Max(axes)(a)


def min(a: Tensor, axes: Axes = None) -> Tensor:
    """The smallest element over axes, or NaN if any is NaN."""
    return Min(axes)(a)
