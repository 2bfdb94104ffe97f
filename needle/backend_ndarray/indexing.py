"""Basic indexing: what a[1, ::-2, None, ...] means for a shape and its strides."""

from __future__ import annotations

import operator

from needle.backend_ndarray.shape import Shape


def resolve_index(index, shape: Shape, strides: Shape, offset: int) -> tuple[Shape, Shape, int]:
    """(shape, strides, offset) of the view that ints, slices, None and Ellipsis pick. Raises IndexError."""
    index = index if isinstance(index, tuple) else (index,)
    ndim = len(shape)
    used = sum(item is not None and item is not Ellipsis for item in index)
    ellipses = sum(item is Ellipsis for item in index)
    if used > ndim or ellipses > 1:
        raise IndexError(f"index {index}: too many indices for shape {shape}")
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
            new_strides.append(strides[axis] * step)
            offset += start * strides[axis] if length else 0
            axis += 1
        else:
            offset += _position(item, shape, axis) * strides[axis]
            axis += 1
    return tuple(new_shape), tuple(new_strides), offset


def _position(item, shape: Shape, axis: int) -> int:
    try:
        position = operator.index(item)
    except TypeError:
        raise IndexError(f"index {item!r}: expected an int, a slice, None or Ellipsis") from None
    extent = shape[axis]
    if not -extent <= position < extent:
        raise IndexError(f"index {position} along axis {axis} of shape {shape}: expected {-extent} to {extent - 1}")
    return position % extent
