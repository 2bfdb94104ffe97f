"""Operations that move elements without changing them; most return views of their operand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from needle.autograd import Op, Tensor, TensorTuple, require_tensors
from needle.backend_ndarray import NDArray, ndarray
from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import common_dtype
from needle.backend_ndarray.shape import (
    Axes,
    as_ints,
    as_shape,
    normalize_axes,
    normalize_axis,
)
from needle.backend_ndarray.spec import Shaped
from needle.errors import ShapeError, short
from needle.ops.getitem import SetItem, getitem


class Permute(Op):
    """Axis i of the result is axis axes[i] of a."""

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = as_ints("permute", "axes", axes)

    def compute(self, a: NDArray) -> NDArray:
        return a.permute(self.axes)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        axes = normalize_axes("permute", self.axes, out_grad.ndim)
        return permute(out_grad, sorted(range(len(axes)), key=axes.__getitem__))


class Transpose(Op):
    """Two axes swapped, by default the last two."""

    def __init__(self, axes: tuple[int, int] | None = None) -> None:
        pair = (-2, -1) if axes is None else as_ints("transpose", "axes", axes)
        if len(pair) != 2:
            raise ShapeError(f"transpose: axes {short(axes)}: expected two; see permute for more")
        self.axes = pair[0], pair[1]

    def _order(self, ndim: int) -> list[int]:
        first, second = normalize_axes("transpose", self.axes, ndim)
        order = list(range(ndim))
        order[first], order[second] = second, first
        return order

    def compute(self, a: NDArray) -> NDArray:
        order = self._order(len(a.shape))
        return a.view(tuple([a.shape[i] for i in order]), tuple([a.strides[i] for i in order]))

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return transpose(out_grad, self.axes)


class Reshape(Op):
    """The same elements in row-major order; one extent may be -1."""

    def __init__(self, shape: Sequence[int] | int) -> None:
        self.shape = shape

    def compute(self, a: NDArray) -> NDArray:
        return a.reshape(self.shape)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return reshape(out_grad, node.inputs[0].shape)


class Flip(Op):
    """The order of elements reversed along axes (None: all)."""

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def compute(self, a: NDArray) -> NDArray:
        return a.flip(self.axes)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return flip(out_grad, self.axes)


class Pad(Op):
    """(before, after) elements of one value added along each axis."""

    def __init__(self, axes: Sequence[tuple[int, int]], value: float = 0) -> None:
        self.axes = axes
        self.value = value

    def compute(self, a: NDArray) -> NDArray:
        return a.pad(self.axes, self.value)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        return getitem(out_grad, tuple(slice(before, before + n) for n, (before, _) in zip(a.shape, self.axes)))


class Dilate(Op):
    """`dilation` zeros put after each element along axes."""

    def __init__(self, axes: Sequence[int], dilation: int) -> None:
        self.axes = axes
        self.dilation = whole("dilate", "dilation", dilation)

    def _index(self, ndim: int) -> tuple[slice, ...]:
        axes = normalize_axes("dilate", self.axes, ndim)
        return tuple(slice(None, None, self.dilation + 1 if axis in axes else None) for axis in range(ndim))

    def compute(self, a: NDArray) -> NDArray:
        index = self._index(a.ndim)
        shape = as_shape("dilate", [extent * (along.step or 1) for extent, along in zip(a.shape, index)])
        out = ndarray.zeros(shape, a.dtype, a.device)
        out[index] = a
        return out

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return undilate(out_grad, self.axes, self.dilation)


class UnDilate(Op):
    """Every (dilation + 1)-th element along axes: the transpose of Dilate."""

    def __init__(self, axes: Sequence[int], dilation: int) -> None:
        self.dilate = Dilate(axes, dilation)

    def compute(self, a: NDArray) -> NDArray:
        return a[self.dilate._index(a.ndim)]

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        shape = node.inputs[0].shape
        return SetItem(self.dilate._index(len(shape)), shape)(out_grad)


def _views_along(a: NDArray, axis: int) -> list[NDArray]:
    """Views of a without the axis, one for each position along it."""
    step, offset = a.strides[axis], a.offset
    shape, strides = (*a.shape[:axis], *a.shape[axis + 1 :]), (*a.strides[:axis], *a.strides[axis + 1 :])
    return [a.view(shape, strides, offset + i * step) for i in range(a.shape[axis])]


class Stack(Op):
    """Tensors of one shape along a new axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def compute(self, *arrays: NDArray) -> NDArray:
        device, shape = same_device("stack", *arrays), arrays[0].shape
        if any(a.shape != shape for a in arrays):
            raise ShapeError(f"stack: shapes {', '.join(str(a.shape) for a in arrays)}: expected one shape")
        axis = normalize_axis("stack", self.axis, len(shape) + 1)
        out = ndarray.empty((*shape[:axis], len(arrays), *shape[axis:]), common_dtype(arrays), device, "stack")
        for a, place in zip(arrays, _views_along(out, axis)):
            call(device, "copy", a, place)
        return out

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(split(out_grad, self.axis))


class Split(Op):
    """The slices along an axis, without that axis, as a TensorTuple."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    if TYPE_CHECKING:

        def __call__(self, *inputs: Tensor) -> TensorTuple: ...  # type: ignore[override]  # it has several results

    def compute(self, a: NDArray) -> tuple[NDArray, ...]:
        return tuple(_views_along(a, normalize_axis("split", self.axis, a.ndim)))

    def gradient(self, out_grad: list[Tensor], node: Tensor) -> Tensor:
        return stack(out_grad, self.axis)


class Concatenate(Op):
    """Tensors one after another along an axis; their other extents are equal."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def compute(self, *arrays: NDArray) -> NDArray:
        device, shape = same_device("concatenate", *arrays), arrays[0].shape
        axis = normalize_axis("concatenate", self.axis, len(shape))
        rest = [(*a.shape[:axis], *a.shape[axis + 1 :]) for a in arrays]
        if any(a.ndim != len(shape) for a in arrays) or any(other != rest[0] for other in rest):
            met = ", ".join(str(a.shape) for a in arrays)
            raise ShapeError(f"concatenate: shapes {met}: expected equal extents but for axis {axis}")
        extent = sum(a.shape[axis] for a in arrays)
        out = ndarray.empty((*shape[:axis], extent, *shape[axis + 1 :]), common_dtype(arrays), device)
        for a, index in zip(arrays, self._slices(arrays)):
            out[index] = a
        return out

    def _slices(self, arrays: Sequence[Shaped]) -> Iterator[tuple[slice, ...]]:
        axis = normalize_axis("concatenate", self.axis, len(arrays[0].shape))
        start = 0
        for a in arrays:
            yield (slice(None),) * axis + (slice(start, start + a.shape[axis]),)
            start += a.shape[axis]

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(getitem(out_grad, index) for index in self._slices(node.inputs))


def _at_least_one(op: str, tensors: Sequence[Tensor] | TensorTuple) -> tuple[Tensor, ...]:
    try:
        tensors = tuple(tensors)
    except TypeError:
        raise TypeError(f"{op}: {short(tensors)}: expected Tensors, in a tuple or list") from None
    if not tensors:
        raise ShapeError(f"{op}: no tensors: expected one or more")
    require_tensors(op, *tensors)
    return tensors


def permute(a: Tensor, axes: Sequence[int]) -> Tensor:
    """A view whose axis i is axis axes[i] of a."""
    return Permute(axes)(a)


def transpose(a: Tensor, axes: tuple[int, int] | None = None) -> Tensor:
    """A view with two axes swapped, by default the last two."""
    return Transpose(axes)(a)


def reshape(a: Tensor, shape: Sequence[int] | int) -> Tensor:
    """The same elements in row-major order in another shape; a view if the strides allow. One extent may be -1."""
    return Reshape(shape)(a)


def flip(a: Tensor, axes: Axes = None) -> Tensor:
    """A view with the order of elements reversed along axes (None: all)."""
    return Flip(axes)(a)


def pad(a: Tensor, axes: Sequence[tuple[int, int]], value: float = 0) -> Tensor:
    """A copy with (before, after) elements of `value` added along each axis."""
    return Pad(axes, value)(a)


def dilate(a: Tensor, axes: Sequence[int], dilation: int) -> Tensor:
    """A copy with `dilation` zeros put after each element along axes."""
    return Dilate(axes, dilation)(a)


def undilate(a: Tensor, axes: Sequence[int], dilation: int) -> Tensor:
    """A view of every (dilation + 1)-th element along axes."""
    return UnDilate(axes, dilation)(a)


def stack(tensors: Sequence[Tensor] | TensorTuple, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return Stack(axis)(*_at_least_one("stack", tensors))


def split(a: Tensor, axis: int = 0) -> TensorTuple:
    """The slices of a along an axis, without that axis; views."""
    return Split(axis)(a)


def concatenate(tensors: Sequence[Tensor] | TensorTuple, axis: int = 0) -> Tensor:
    """Tensors one after another along an axis."""
    return Concatenate(axis)(*_at_least_one("concatenate", tensors))
