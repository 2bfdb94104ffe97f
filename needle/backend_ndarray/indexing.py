"""Basic indexing: how an index such as a[1, ::-2, None, ...] changes shape and strides.

Ints, slices, None and Ellipsis select a view. For masks and integer arrays see array_indexing.py.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from needle.backend_ndarray.shape import MAX_DIMS, Shape, broadcast_shapes
from needle.errors import ShapeError, short
from needle.typing import Index

if TYPE_CHECKING:
    from needle.backend_ndarray.ndarray import NDArray

_BOUND = frozenset({int, type(None)})
_BASIC = frozenset({int, type(None), type(...)})


def is_basic(index: Index) -> bool:
    """Whether an index has only plain ints, slices of plain ints, None and Ellipsis: no NumPy ints, no bools."""
    for item in index if type(index) is tuple else (index,):
        if type(item) is slice:
            if type(item.start) not in _BOUND or type(item.stop) not in _BOUND or type(item.step) not in _BOUND:
                return False
        elif type(item) not in _BASIC:
            return False
    return True


def resolve_index(index: Index, shape: Shape, strides: Shape, offset: int) -> tuple[Shape, Shape, int]:
    """(shape, strides, offset) of the view that ints, slices, None and Ellipsis select. Raises IndexError."""
    if type(index) is int and shape and -shape[0] <= index < shape[0]:  # x[i], the most frequent
        return shape[1:], strides[1:], offset + index % shape[0] * strides[0]
    index = index if isinstance(index, tuple) else (index,)
    ndim = len(shape)
    used = ellipses = 0
    for item in index:
        ellipses += item is Ellipsis
        used += item is not None and item is not Ellipsis
    if used > ndim or ellipses > 1:
        raise IndexError(f"index {short(index)}: too many {'indices' if used > ndim else 'ellipses'} for shape {shape}")
    if not ellipses:
        index = (*index, Ellipsis)
    new_shape, new_strides = [], []
    axis = 0
    for item in index:
        if item is None:
            new_shape.append(1)
            new_strides.append(0)
        elif item is Ellipsis:
            end = axis + ndim - used
            new_shape.extend(shape[axis:end])
            new_strides.extend(strides[axis:end])
            axis = end
        elif isinstance(item, slice):
            start, stop, step = item.indices(shape[axis])
            length = len(range(start, stop, step))
            new_shape.append(length)
            new_strides.append(strides[axis] * step if length > 1 else strides[axis])
            offset += start * strides[axis] if length else 0
            axis += 1
        else:
            offset += _position(item, shape, axis) * strides[axis]
            axis += 1
    check_dims(len(new_shape))
    return tuple(new_shape), tuple(new_strides), 0 if 0 in new_shape else offset


def check_dims(ndim: int) -> None:
    """Raises ShapeError if the result of an index has more dimensions than an array may have."""
    if ndim > MAX_DIMS:
        raise ShapeError(f"index: a result of {ndim} dimensions: expected at most {MAX_DIMS}")


def _position(item: Any, shape: Shape, axis: int) -> int:
    try:
        position = operator.index(item)
    except TypeError:
        position = None
    if position is None or isinstance(item, (bool, np.bool_)):
        raise IndexError(f"index {short(item)}: expected an int, a slice, None or Ellipsis")
    extent = shape[axis]
    if not -extent <= position < extent:
        raise out_of_range(position, shape, axis)
    return position % extent


def out_of_range(position: int, shape: Shape, axis: int) -> IndexError:
    """The error to raise for a position that is out of range."""
    extent = shape[axis]
    expected = f"{-extent} to {extent - 1}" if extent else "none, there being no elements"
    return IndexError(f"index {short(position)} along axis {axis} of shape {shape}: expected {expected}")


def fit_value(value: NDArray, shape: Shape) -> NDArray:
    """`value` broadcast to `shape`, that of the target; it may have additional leading axes of extent 1."""
    surplus = len(value.shape) - len(shape)
    if surplus > 0 and math.prod(value.shape[:surplus]) == 1:
        value = value.reshape(value.shape[surplus:])
    if broadcast_shapes("setitem", value.shape, shape) != shape:
        raise ShapeError(f"setitem: a value of shape {value.shape} does not fit into shape {shape}")
    return value.broadcast_to(shape)
