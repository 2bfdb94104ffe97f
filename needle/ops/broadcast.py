"""Broadcasts and sums, each of which is the gradient of the other."""

from __future__ import annotations

from collections.abc import Sequence

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import reduce as array_api
from needle.backend_ndarray.shape import Axes, as_shape, normalize_axes, reduced_shape
from needle.backend_ndarray.spec import Spec
from needle.ops.shape import reshape


class BroadcastTo(Op):
    """Repeats along axes of extent 1 and along new axes in front."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = as_shape("broadcast_to", shape)

    def compute(self, a: NDArray) -> NDArray:
        return a.broadcast_to(self.shape)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return unbroadcast(out_grad, node.inputs[0])


class Summation(Op):
    """The sum over axes (None: all)."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def compute(self, a: NDArray) -> NDArray:
        return array_api.sum(a, self.axes)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return expand_reduced(out_grad, node.inputs[0], self.axes)


_sum_of_all = Summation()


def unbroadcast(grad: Tensor, like: Tensor | Spec) -> Tensor:
    """The transpose of a broadcast: sums `grad` over the axes along which `like` was repeated."""
    if grad.shape == like.shape:
        return grad
    new_axes = grad.ndim - like.ndim
    repeated = [new_axes + i for i, extent in enumerate(like.shape) if extent == 1 and grad.shape[new_axes + i] != 1]
    axes = (*range(new_axes), *repeated)
    grad = sum(grad, axes) if axes else grad
    return grad if grad.shape == like.shape else reshape(grad, like.shape)


def expand_reduced(reduced: Tensor, like: Tensor, axes: Axes) -> Tensor:
    """Repeats the result of a reduction of `like` over `axes` along those axes."""
    axes = normalize_axes("reduction", axes, like.ndim)
    if sorted(axes) != list(range(len(axes))):  # a broadcast adds axes in front by itself
        reduced = reshape(reduced, reduced_shape(like.shape, axes, keepdims=True))
    return broadcast_to(reduced, like.shape)


def broadcast_to(a: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of that shape that repeats elements along axes of extent 1 and along new axes in front."""
    return BroadcastTo(shape)(a)


def sum(a: Tensor, axes: Axes = None) -> Tensor:
    """The sum over axes; int64 for integers and bools."""
    return (_sum_of_all if axes is None else Summation(axes))(a)
