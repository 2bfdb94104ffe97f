"""Indexing with masks and integer arrays: what a[mask], a[[2, 0, 2]] and a[:, rows, None, columns] mean.

The rules are NumPy's:

- An array of integers picks from one axis; negative integers count from the end. A 0-d array is an int.
- A mask is a bool array with k axes. It stands for the positions of its true elements along k axes and must have their
  extents (or 0, which fits any). True, False and 0-d masks stand for one position or none along a new axis.
- Several arrays broadcast against each other and pick together: a[[0, 1], [2, 3]] is a[0, 2] and a[1, 3].
- If the arrays are adjacent in the index (an int beside arrays counts as an array), the axes of their broadcast shape
  take their place in the result. If a slice, None or Ellipsis separates them, these axes come first.

`pick` does this with views and one kernel. For a of shape (A, B, C, D) and a[:, i, j]:

    rows     a permuted to (B, C, A, D) and reshaped to (B * C, A, D)
    numbers  i * C + j, in the shape that i and j broadcast to
    result   rows[numbers], (*numbers.shape, A, D), permuted to (A, *numbers.shape, D)

Masks and 0-d arrays are read on the host, which waits for a GPU. Other integer arrays on a GPU are not read; the kernel
reports integers out of range.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, TypeVar

import numpy as np

from needle.backend_ndarray import elementwise, ndarray
from needle.backend_ndarray.device import Device
from needle.backend_ndarray.dtype import int64
from needle.backend_ndarray.indexing import check_dims, fit_value, out_of_range
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape
from needle.errors import DeviceError, DTypeError, ShapeError, short
from needle.typing import Index, NumPyArray

if TYPE_CHECKING:
    from typing_extensions import Self

_Item = int | slice | EllipsisType | None | NumPyArray | NDArray  # of an index, see plain_index


class _Indexed(Protocol):
    """What an NDArray and a Tensor have in common."""

    @property
    def shape(self) -> Shape: ...

    @property
    def ndim(self) -> int: ...

    @property
    def device(self) -> Device: ...

    def __getitem__(self, index: Index, /) -> Self: ...
    def permute(self, axes: Sequence[int], /) -> Self: ...
    def reshape(self, shape: Shape, /) -> Self: ...


_Array = TypeVar("_Array", bound=_Indexed)


def pick(a: _Array, index: Index, gather: Callable[[_Array, NDArray], _Array]) -> _Array:
    """a[index] for an NDArray or a Tensor. gather(rows, numbers) gives rows[numbers] along the first axis."""
    index = plain_index(a, index)
    if not any(map(_is_array, index)):
        return a[index]
    chosen = _choose(index, a.shape)
    check_dims(len(_broadcast_shape(chosen)) + len(chosen.others))
    rows = a if all(item == slice(None) for item in chosen.view) else a[chosen.view]
    order = chosen.order
    if order != sorted(order):
        rows = rows.permute(order)
    kept = rows.shape[len(chosen.indexed) :]
    if len(chosen.indexed) > 1:
        rows = rows.reshape((math.prod(array.extent for array in chosen.arrays), *kept))
    picked = _gather_rows(a, rows, chosen, gather)
    new_axes = picked.ndim - len(kept)
    if None in chosen.others:
        picked = picked.reshape((*picked.shape[:new_axes], *chosen.with_new_axes(kept)))
    if not chosen.place:
        return picked
    in_front = range(new_axes, new_axes + chosen.place)
    return picked.permute([*in_front, *range(new_axes), *range(in_front.stop, picked.ndim)])


def put(a: NDArray, index: Index, value: NDArray) -> None:
    """a[index] = value, an NDArray on the device of `a`; of several values for one element the last one wins.

    NumPy does the assignment, on a GPU in a copy of the part of `a` that the ints and slices select.
    """
    index = plain_index(a, index)
    if not any(map(_is_array, index)):
        a[index] = value
        return
    chosen = _choose(index, a.shape)
    target = a[chosen.view].permute(chosen.order)
    indexed, kept = target.shape[: len(chosen.indexed)], target.shape[len(chosen.indexed) :]
    others = chosen.with_new_axes(kept)
    numbers = _host_numbers(chosen)
    value = fit_value(value.astype(a.dtype), (*others[: chosen.place], *numbers.shape, *others[chosen.place :]))
    if value.size:
        new_axes = range(chosen.place, chosen.place + numbers.ndim)
        in_front = [*new_axes, *range(chosen.place), *range(new_axes.stop, value.ndim)]
        values = target.host_values()
        places = np.unravel_index(numbers.reshape(-1), indexed)
        values[places] = value.permute(in_front).reshape(numbers.size, *kept).host_values()
        if not a.device.is_host:
            target[...] = ndarray.array(values, device=a.device, dtype=a.dtype)


def plain_index(a: _Indexed, index: Index) -> tuple[_Item, ...]:
    """`index` as a tuple of ints, slices of ints, None, Ellipsis, masks, and integer arrays with axes.

    Arrays are NumPy arrays, or NDArrays on the device of `a`. Raises IndexError for anything else.
    """
    items = tuple(map(_plain_item, index if isinstance(index, tuple) else (index,)))
    for item in items:
        if isinstance(item, NDArray) and item.device is not a.device:
            raise DeviceError(f"index: operands on {a.device} and {item.device}: expected one device; see .to(device)")
    return items


def _plain_item(item: Any) -> _Item:
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, slice):
        try:
            return slice(*[None if x is None else int(operator.index(x)) for x in (item.start, item.stop, item.step)])
        except TypeError:
            met = short((item.start, item.stop, item.step))
            raise DTypeError(f"index slice{met}: expected a slice of ints") from None
    if not isinstance(item, (bool, np.ndarray, np.generic, NDArray)):
        try:
            return int(operator.index(item))
        except TypeError:
            pass
    array = item if isinstance(item, NDArray) else _host_array(item)
    if not _is_mask(array) and array.dtype.kind not in ("integer", "i", "u"):
        met = short(item) if array.shape == () else f"of shape {array.shape} and dtype {array.dtype}"
        raise IndexError(f"index {met}: expected an int, a slice, None, Ellipsis, integers or a mask")
    return array if array.shape or _is_mask(array) else int(array)


def _host_array(item: Any) -> NumPyArray:
    try:
        array = np.asarray(item)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"index: {short(str(error), 160)}") from None
    return array if array.size or hasattr(item, "dtype") else array.astype(np.int64)  # NumPy turns [] into floats


def _is_array(item: _Item) -> TypeGuard[NumPyArray | NDArray]:
    return isinstance(item, (np.ndarray, NDArray))


def _is_mask(item: _Item) -> TypeGuard[NumPyArray | NDArray]:
    return _is_array(item) and item.dtype.kind in ("bool", "b")


def _num_axes(item: _Item) -> int:
    """How many axes of `a` an item of an index consumes."""
    if item is None or item is Ellipsis:
        return 0
    return len(item.shape) if _is_mask(item) else 1


class _Positions(NamedTuple):
    """The positions that one array of an index picks along axes of `a`, counted row by row."""

    values: NumPyArray | NDArray
    extent: int  # positions are 0 to extent - 1
    axis: int | None  # along which values may be negative or out of range; None for a mask, whose values cannot be


class _Choice(NamedTuple):
    """An index with arrays, split into its parts."""

    shape: Shape  # of `a`
    view: tuple[int | slice | None, ...]  # index of ints, slices and None; the axes of a[view] are
    indexed: list[int]  # the axes that arrays index, or one new axis if they index none
    others: list[int | None]  # the other axes; None stands for an axis that the index adds
    place: int  # how many of `others` come before the arrays' axes in the result
    arrays: list[_Positions]

    @property
    def order(self) -> list[int]:
        """The axes of the view, with those that arrays index in front."""
        return [*self.indexed, *(axis for axis in self.others if axis is not None)]

    def with_new_axes(self, kept: Shape) -> Shape:
        """The extents of `others`: those of the view, and 1 for added axes."""
        extents = iter(kept)
        return tuple(1 if axis is None else next(extents) for axis in self.others)


def _choose(index: tuple[_Item, ...], shape: Shape) -> _Choice:
    missing = len(shape) - sum(map(_num_axes, index))
    ellipses = sum(item is Ellipsis for item in index)
    if missing < 0 or ellipses > 1:
        raise IndexError(f"index: too many {'indices' if missing < 0 else 'ellipses'} for shape {shape}")
    has_axes = any(_is_array(item) and _num_axes(item) for item in index)
    view: list[int | slice | None] = [] if has_axes else [None]
    indexed: list[int] = [] if has_axes else [0]
    others: list[int | None] = []
    arrays: list[_Positions] = []
    members = []  # for arrays and ints: place in the index, and how many of `others` come before
    axis, axes_of_view = 0, itertools.count(len(view))
    for i, item in enumerate(index if ellipses else (*index, Ellipsis)):
        num_axes = missing if item is Ellipsis else _num_axes(item)
        if _is_array(item) or isinstance(item, int):
            members.append((i, len(others)))
        if _is_array(item):
            arrays.append(_positions(item, axis, shape))
            indexed.extend(itertools.islice(axes_of_view, num_axes))
        elif item is None:
            others.append(None)
        elif not isinstance(item, int):
            others.extend(itertools.islice(axes_of_view, num_axes))
        if item is not None:
            view.extend([item] if isinstance(item, (int, slice)) else [slice(None)] * num_axes)
        axis += num_axes
    (first, place), (last, _) = members[0], members[-1]
    are_neighbours = last - first + 1 == len(members)
    return _Choice(shape, tuple(view), indexed, others, place if are_neighbours else 0, arrays)


def _positions(array: NumPyArray | NDArray, axis: int, shape: Shape) -> _Positions:
    """The positions that an array picks; `axis` is the first (or only) axis that it indexes."""
    if not _is_mask(array):
        return _Positions(array, shape[axis], axis)
    expected = shape[axis : axis + len(array.shape)]
    for i, (met, extent) in enumerate(zip(array.shape, expected), axis):
        if met not in (extent, 0):
            raise IndexError(
                f"index: a mask of shape {array.shape} for axes {expected} of shape {shape}: "
                f"met {met} along axis {i}: expected {extent}"
            )
    return _Positions(np.flatnonzero(_host_values(array)), math.prod(expected), None)


def _host_values(array: NumPyArray | NDArray) -> NumPyArray:
    return array if isinstance(array, np.ndarray) else array.host_values()


def _gather_rows(a: _Array, rows: _Array, chosen: _Choice, gather: Callable[[_Array, NDArray], _Array]) -> _Array:
    array, *more = chosen.arrays
    if a.device.is_host or all(isinstance(array.values, np.ndarray) for array in chosen.arrays):
        if a.device.is_host and not more and array.axis is not None:
            try:
                return gather(rows, _on_device(array.values, a.device))
            except ShapeError:  # from the kernel: positions out of range, or negative, which it does not support
                pass
        numbers: NumPyArray | NDArray = _host_numbers(chosen)
    else:
        numbers = _device_numbers(chosen, a.device)
    return gather(rows, _on_device(numbers, a.device))


def _on_device(values: NumPyArray | NDArray, device: Device) -> NDArray:
    return ndarray.array(values, int64, device) if isinstance(values, np.ndarray) else values


def _host_numbers(chosen: _Choice) -> NumPyArray:
    """The numbers of the rows that an index picks. Raises IndexError for a position out of range."""
    is_empty = 0 in _broadcast_shape(chosen)
    numbers: NumPyArray = np.zeros((), np.int64)
    for array in chosen.arrays:
        values = _host_values(array.values).astype(np.int64, copy=False)
        if array.axis is not None and not is_empty:
            values = _counted_from_front(values, chosen.shape, array.axis)
        numbers = numbers * array.extent + values
    return numbers


def _counted_from_front(values: NumPyArray, shape: Shape, axis: int) -> NumPyArray:
    extent = shape[axis]
    wrong = (values < -extent) | (values >= extent)
    if wrong.any():
        raise out_of_range(values[wrong].flat[0], shape, axis)
    return np.where(values < 0, values + extent, values)


def _device_numbers(chosen: _Choice, device: Device) -> NDArray:
    """`_host_numbers` without waiting for the device: a position out of range becomes -1, which the kernel reports."""
    _broadcast_shape(chosen)
    numbers: NDArray | None = None
    right: NDArray | None = None
    for array in chosen.arrays:
        values = _on_device(array.values, device).astype(int64)
        if array.axis is not None:
            values = elementwise.where(values < 0, values + array.extent, values)
        if len(chosen.arrays) == 1:
            return values  # out-of-range values need no change: the kernel reports them
        inside = (values >= 0) & (values < array.extent)
        right = inside if right is None else right & inside
        numbers = values if numbers is None else numbers * array.extent + values
    assert right is not None and numbers is not None  # there are arrays
    return elementwise.where(right, numbers, -1)


def _broadcast_shape(chosen: _Choice) -> Shape:
    shapes = [array.values.shape for array in chosen.arrays]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        met = " and ".join(map(str, shapes))
        raise IndexError(f"index: arrays of shapes {met} do not broadcast: expected equal extents or 1") from None
