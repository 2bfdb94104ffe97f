"""Arithmetic on shapes, strides and axes. Strides count elements.

A program uses the same few shapes again and again, and this arithmetic would take longer than a small kernel. Functions
that depend only on tuples of ints are therefore memoized in an LRU cache.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from needle.errors import ShapeError, short

Shape = tuple[int, ...]
ShapeLike = int | Collection[int]  # of anything with __index__
Axes = int | Collection[int] | None  # None means all of them
MAX_DIMS = 8
MAX_ELEMENTS = 1 << 57  # the kernels count in int64, up to 64 per element
_Function = TypeVar("_Function", bound=Callable[..., object])
# typeshed's lru_cache forgets the parameters.
remembered: Callable[[_Function], _Function] = functools.lru_cache(maxsize=4096)  # type: ignore[assignment]


def as_ints(op: str, name: str, values: Any) -> tuple[int, ...]:
    """A tuple of ints from an int or a collection of ints (anything with __index__). Raises ShapeError for others."""
    try:
        if hasattr(values, "__len__"):  # not an iterator, which could be read only once
            return tuple(map(operator.index, values))
    except TypeError:
        pass
    try:
        return (operator.index(values),)
    except TypeError:
        raise ShapeError(f"{op}: {name} of {short(values)}: expected whole numbers") from None


def as_shape(op: str, shape: ShapeLike) -> Shape:
    """A tuple of extents from an int or a collection of ints. Raises ShapeError if no array can have that shape."""
    return _checked(op, as_ints(op, "shape", shape))


@remembered
def _checked(op: str, extents: Shape) -> Shape:
    met = f"{op}: shape {short(extents)}"
    if any(extent < 0 for extent in extents):
        raise ShapeError(f"{met}: expected extents of 0 or more")
    if len(extents) > MAX_DIMS:
        raise ShapeError(f"{met}: {len(extents)} dimensions, expected at most {MAX_DIMS}")
    if 0 in extents and math.prod(extent for extent in extents if extent) >= MAX_ELEMENTS:
        raise ShapeError(f"{met}: expected extents other than 0 whose product is below 2^57")
    if max(extents, default=0) >= 1 << 63:
        raise ShapeError(f"{met}: expected extents below 2^63")
    return extents


@remembered
def compact_strides(shape: Shape) -> Shape:
    """The strides of a row-major array without gaps."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


@remembered
def is_compact(shape: Shape, strides: Shape) -> bool:
    """Whether the strides are those of a row-major array; strides of axes of extent 1 do not matter."""
    step = 1
    for extent, stride in zip(reversed(shape), reversed(strides)):
        if extent != 1 and stride != step:
            return False
        step *= extent
    return True


@remembered
def dense_strides_like(shape: Shape, strides: Shape) -> Shape:
    """Strides without gaps for `shape`, with its axes in the same memory order as those of `strides`.

    Thus the result of an operation on a channels-last array is channels-last as well. For a broadcast array, which has
    no order, the result is row-major.
    """
    repeats = any(stride == 0 and extent > 1 for extent, stride in zip(shape, strides))
    if repeats or is_compact(shape, strides):
        return compact_strides(shape)
    order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
    result, step = [0] * len(shape), 1
    for axis in reversed(order):
        result[axis] = step
        step *= shape[axis]
    return tuple(result)


@remembered
def reshape_strides(shape: Shape, strides: Shape, new_shape: Shape) -> Shape | None:
    """Strides with which the same memory has `new_shape`, or None if that needs a copy.

    Both shapes are split into the shortest runs of axes with equal products. A run of old axes can be divided anew if
    it is one evenly strided block of memory.
    """
    if math.prod(shape) == 0:
        return compact_strides(new_shape)
    old = [(extent, stride) for extent, stride in zip(shape, strides) if extent != 1]
    result, position = [], 0
    new_axis = 0
    while new_axis < len(new_shape):
        if new_shape[new_axis] == 1:
            result.append(0)
            new_axis += 1
            continue
        first, first_new = position, new_axis
        product, new_product = old[position][0], new_shape[new_axis]
        while product != new_product:
            if product < new_product:
                position += 1
                product *= old[position][0]
            else:
                new_axis += 1
                new_product *= new_shape[new_axis]
        for (_, outer), (extent, inner) in zip(old[first:position], old[first + 1 : position + 1]):
            if outer != extent * inner:
                return None
        run = new_shape[first_new : new_axis + 1]
        result.extend(stride * old[position][1] for stride in compact_strides(run))
        position += 1
        new_axis += 1
    return tuple(result)


def resolve_reshape(op: str, shape: Shape, new_shape: ShapeLike) -> Shape:
    """`new_shape` with its one -1, if any, replaced by the extent. Raises ShapeError if the sizes differ."""
    return _resolved(op, shape, as_ints(op, "shape", new_shape))


@remembered
def _resolved(op: str, shape: Shape, new_shape: Shape) -> Shape:
    size = math.prod(shape)
    unknown = [axis for axis, extent in enumerate(new_shape) if extent == -1]
    known = math.prod(extent for extent in new_shape if extent != -1)
    if len(unknown) == 1 and known > 0 and size % known == 0:
        axis = unknown[0]
        new_shape = (*new_shape[:axis], size // known, *new_shape[axis + 1 :])
    elif unknown or known != size:
        raise ShapeError(f"{op}: shape {shape} has {size} elements and does not fit into {short(new_shape)}")
    return _checked(op, new_shape)


@remembered
def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The broadcast shape: aligned at the last axis, extents must be equal or 1. Raises ShapeError otherwise."""
    first, *rest = shapes
    if all(shape == first for shape in rest):
        return first
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for axis, extent in enumerate(shape, ndim - len(shape)):
            if extent != 1 and result[axis] not in (1, extent):
                met = " and ".join(map(str, shapes))
                raise ShapeError(
                    f"{op}: shapes {met} do not broadcast: expected equal extents or 1, aligned at the end"
                )
            if extent != 1:
                result[axis] = extent
    if math.prod(result) >= MAX_ELEMENTS:
        met = " and ".join(map(str, shapes))
        raise ShapeError(f"{op}: shapes {met}: expected a common one of fewer than 2^57 elements")
    return tuple(result)


def as_widths(op: str, shape: Shape, widths: Collection[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """A pair (before, after) of counts for each axis of `shape`."""
    try:
        pairs = tuple(tuple(map(operator.index, pair)) for pair in widths) if hasattr(widths, "__len__") else None
    except TypeError:
        pairs = None
    if pairs is None or len(pairs) != len(shape) or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ShapeError(f"{op}: {short(widths)} for shape {shape}: expected a pair of counts of 0 or more per axis")
    return pairs  # type: ignore[return-value]  # they are pairs, which mypy does not see


def normalize_axis(op: str, axis: int, ndim: int) -> int:
    """`axis` counted from the front. Raises ShapeError if there is no such axis."""
    try:
        index = operator.index(axis)
    except TypeError:
        raise ShapeError(f"{op}: axis {short(axis)}: expected a whole number") from None
    if not -ndim <= index < ndim:
        expected = f"{-ndim} to {ndim - 1}" if ndim else "none"
        raise ShapeError(f"{op}: axis {short(index)} of an array with {ndim} dimensions: expected {expected}")
    return index % ndim


def normalize_axes(op: str, axes: Axes, ndim: int) -> tuple[int, ...]:
    """The axes counted from the front, in the order given; None means all of them. Raises ShapeError for a repeat."""
    if axes is None:
        return tuple(range(ndim))
    return _normalized(op, as_ints(op, "axes", axes), ndim)


@remembered
def _normalized(op: str, axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    result = tuple(normalize_axis(op, axis, ndim) for axis in axes)
    if len(set(result)) != len(result):
        raise ShapeError(f"{op}: axes {short(axes)}: expected each axis once")
    return result


@remembered
def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """The shape after a reduction over `axes`."""
    if keepdims:
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)
