"""Operations that move elements without changing them; most return views of their operand."""

from __future__ import annotations

from collections.abc import Sequence

from needle.autograd import Op, Tensor, TensorTuple, require_tensors
from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import whole
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dtype import common_dtype
from needle.backend_ndarray.shape import (
    as_ints,
    as_shape,
    as_widths,
    normalize_axes,
    normalize_axis,
    resolve_reshape,
)
from needle.backend_ndarray.spec import Spec
from needle.errors import ShapeError, short
from needle.ops.getitem import SetItem, getitem


class Permute(Op):
    """Axis i of the result is axis axes[i] of a."""

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = as_ints("permute", "axes", axes)

    def infer(self, a):
        return Spec(tuple(a.shape[i] for i in normalize_axes("permute", self.axes, len(a.shape))), a.dtype)

    def compute(self, a):
        return a.permute(self.axes)

    def gradient(self, out_grad, node):
        axes = normalize_axes("permute", self.axes, out_grad.ndim)
        return permute(out_grad, sorted(range(len(axes)), key=axes.__getitem__))


class Transpose(Op):
    """Two axes swapped, by default the last two."""

    def __init__(self, axes: tuple[int, int] | None = None) -> None:
        self.axes = (-2, -1) if axes is None else as_ints("transpose", "axes", axes)
        if len(self.axes) != 2:
            raise ShapeError(f"transpose: axes {short(axes)}: expected two; see permute for more")

    def _order(self, ndim: int) -> list[int]:
        first, second = normalize_axes("transpose", self.axes, ndim)
        order = list(range(ndim))
        order[first], order[second] = second, first
        return order

    def infer(self, a):
        return Spec(tuple(a.shape[i] for i in self._order(len(a.shape))), a.dtype)

    def compute(self, a):
        return a.permute(self._order(a.ndim))

    def gradient(self, out_grad, node):
        return transpose(out_grad, self.axes)


class Reshape(Op):
    """The same elements in row-major order; one extent may be -1."""

    def __init__(self, shape: Sequence[int] | int) -> None:
        self.shape = shape

    def infer(self, a):
        return Spec(resolve_reshape("reshape", a.shape, self.shape), a.dtype)

    def compute(self, a):
        return a.reshape(self.shape)

    def gradient(self, out_grad, node):
        return reshape(out_grad, node.inputs[0].shape)


class Flip(Op):
    """The order of elements reversed along axes (None: all)."""

    def __init__(self, axes=None) -> None:
        self.axes = axes

    def infer(self, a):
        normalize_axes("flip", self.axes, len(a.shape))
        return Spec(a.shape, a.dtype)

    def compute(self, a):
        return a.flip(self.axes)

    def gradient(self, out_grad, node):
        return flip(out_grad, self.axes)


class Pad(Op):
    """(before, after) elements of one value added along each axis."""

    def __init__(self, axes: Sequence[tuple[int, int]], value: float = 0) -> None:
        self.axes = axes
        self.value = value

    def infer(self, a):
        pairs = as_widths("pad", a.shape, self.axes)
        return Spec(tuple(extent + sum(pair) for extent, pair in zip(a.shape, pairs)), a.dtype)

    def compute(self, a):
        return a.pad(self.axes, self.value)

    def gradient(self, out_grad, node):
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

    def infer(self, a):
        steps = [index.step or 1 for index in self._index(len(a.shape))]
        return Spec(as_shape("dilate", [extent * step for extent, step in zip(a.shape, steps)]), a.dtype)

    def compute(self, a):
        out = ndarray.zeros(self.infer(a).shape, a.dtype, a.device)
        out[self._index(a.ndim)] = a
        return out

    def gradient(self, out_grad, node):
        return undilate(out_grad, self.axes, self.dilation)


class UnDilate(Op):
    """Every (dilation + 1)-th element along axes: the transpose of Dilate."""

    def __init__(self, axes: Sequence[int], dilation: int) -> None:
        self.dilate = Dilate(axes, dilation)

    def infer(self, a):
        steps = [index.step or 1 for index in self.dilate._index(len(a.shape))]
        return Spec(tuple(-(-extent // step) for extent, step in zip(a.shape, steps)), a.dtype)

    def compute(self, a):
        return a[self.dilate._index(a.ndim)]

    def gradient(self, out_grad, node):
        shape = node.inputs[0].shape
        return SetItem(self.dilate._index(len(shape)), shape)(out_grad)


class Stack(Op):
    """Tensors of one shape along a new axis."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def infer(self, *arrays):
        shape = arrays[0].shape
        if any(a.shape != shape for a in arrays):
            raise ShapeError(f"stack: shapes {', '.join(str(a.shape) for a in arrays)}: expected one shape")
        axis = normalize_axis("stack", self.axis, len(shape) + 1)
        return Spec((*shape[:axis], len(arrays), *shape[axis:]), common_dtype(arrays))

    def compute(self, *arrays):
        same_device("stack", *arrays)
        out = ndarray.empty(*self.infer(*arrays), arrays[0].device)
        axis = normalize_axis("stack", self.axis, out.ndim)
        for i, a in enumerate(arrays):
            out[(slice(None),) * axis + (i,)] = a
        return out

    def gradient(self, out_grad, node):
        return tuple(split(out_grad, self.axis))


class Split(Op):
    """The slices along an axis, without that axis, as a TensorTuple."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def infer(self, a):
        axis = normalize_axis("split", self.axis, len(a.shape))
        return (Spec((*a.shape[:axis], *a.shape[axis + 1 :]), a.dtype),) * a.shape[axis]

    def compute(self, a):
        axis = normalize_axis("split", self.axis, a.ndim)
        return tuple(a[(slice(None),) * axis + (i,)] for i in range(a.shape[axis]))

    def gradient(self, out_grad, node):
        return stack(out_grad, self.axis)


class Concatenate(Op):
    """Tensors one after another along an axis; their other extents are equal."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def infer(self, *arrays):
        shape = arrays[0].shape
        axis = normalize_axis("concatenate", self.axis, len(shape))
        rest = [(*a.shape[:axis], *a.shape[axis + 1 :]) for a in arrays]
        if any(len(a.shape) != len(shape) for a in arrays) or any(other != rest[0] for other in rest):
            met = ", ".join(str(a.shape) for a in arrays)
            raise ShapeError(f"concatenate: shapes {met}: expected equal extents but for axis {axis}")
        extent = sum(a.shape[axis] for a in arrays)
        return Spec((*shape[:axis], extent, *shape[axis + 1 :]), common_dtype(arrays))

    def compute(self, *arrays):
        same_device("concatenate", *arrays)
        out = ndarray.empty(*self.infer(*arrays), arrays[0].device)
        for a, index in zip(arrays, self._slices(arrays)):
            out[index] = a
        return out

    def _slices(self, arrays):
        axis = normalize_axis("concatenate", self.axis, len(arrays[0].shape))
        start = 0
        for a in arrays:
            yield (slice(None),) * axis + (slice(start, start + a.shape[axis]),)
            start += a.shape[axis]

    def gradient(self, out_grad, node):
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


def flip(a: Tensor, axes=None) -> Tensor:
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
