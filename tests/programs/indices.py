"""Indices of every kind NumPy knows, for reading and for writing."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import numpy as np

from needle.backend_ndarray.shape import MAX_DIMS
from tests.programs.agreement import Exactly
from tests.programs.operation import NDARRAY, Operation
from tests.programs.rules import Number, Refused, as_float, converted, fitting, kind, own
from tests.programs.values import BOOL, INTEGERS, Foreign


def index(program, a) -> Any:
    """Mostly a tuple with an item for some of the axes of a; sometimes an item alone, a mask, or what is no index."""
    choices = program.choices
    if choices.chance(5):
        return choices.pick((1.0, "x", np.array([0.5]), np.float32(1), (np.nan,), np.array([np.nan]), [1.5], (0,) * 9,
                             (Ellipsis, Ellipsis), object(), 2**70, slice(0.5), {}))  # fmt: skip
    if choices.chance(12):
        return mask(program, a.shape[: choices.integer(0, a.ndim)] if choices.chance(30) else a.shape)
    axes, items, advanced = 0, [], None
    for extent in a.shape:
        if choices.chance(15):
            break
        item, axes = None, axes + 1
        form = choices.integer(0, 19)
        if form < 7:
            item = part(choices, extent)
        elif form < 12:
            item = position(choices, extent)
        elif form < 15:
            item, advanced = positions(program, extent, advanced)
        elif form == 15:
            item = mask(program, (extent,))
        elif form == 16 and not any(x is Ellipsis for x in items):
            item, axes = Ellipsis, axes - 1
        elif form == 17:
            items.append(None)
            item = slice(None)
        else:
            item = slice(None)
        items.append(item)
    if choices.chance(3):
        items.append(choices.pick((True, False, 0, None, np.True_)))
    return items[0] if len(items) == 1 and choices.chance(70) else tuple(items)


def part(choices, extent: int) -> slice:
    bounds = [choices.pick((None, 0, 1, -1, extent, -extent - 1, extent + 2)) for _ in range(2)]
    return slice(*bounds, choices.pick((None, 1, -1, 2, -2, 3, 0) if choices.chance(5) else (None, 1, -1, 2, -2)))


def position(choices, extent: int) -> Any:
    """An int, Python's or NumPy's; seldom outside."""
    if extent == 0 or choices.chance(2):
        return choices.pick((extent, -extent - 1))
    value = choices.integer(-extent, extent - 1)
    form = choices.integer(0, 9)
    if form == 0:
        return choices.pick((np.int8, np.int64))(value)
    if form == 1:
        return np.uint8(value % extent)
    return np.array(value) if form == 2 else value


def positions(program, extent: int, shape: tuple[int, ...] | None) -> tuple[Any, tuple[int, ...]]:
    """An integer array or list, of any integer dtype, and its shape; all in one index have one shape, or broadcast."""
    choices = program.choices
    if shape is None:
        shape = choices.pick(((2,), (3,), (1,), (2, 2), (0,)))
    elif choices.chance(20):
        shape = (1,)
    low, high = (-extent, extent - 1) if extent else (0, 0)
    count = int(np.prod(shape)) if extent or choices.chance(10) else 0
    if not count:
        shape = (0,)
    values = np.array([choices.integer(low, high) for _ in range(count)], np.int64).reshape(shape)
    if choices.chance(2) and values.size:
        values.flat[0] = extent
    form = choices.integer(0, 9)
    if form < 4:
        return values.tolist(), shape
    dtype = choices.pick(INTEGERS)
    values = values.astype(dtype) if dtype.kind == "i" else np.where(values < 0, values + extent, values).astype(dtype)
    return (program.given(values) if form < 8 else values), shape


def mask(program, shape: tuple[int, ...]) -> Any:
    choices = program.choices
    if choices.chance(5):
        shape = (*shape[:-1], 7)
    values = np.array([choices.chance(50) for _ in range(int(np.prod(shape, dtype=int)))], bool).reshape(shape)
    form = choices.integer(0, 9)
    if form < 2 and shape:
        return values.tolist()
    return program.given(values) if form < 7 else values


def array_and_index(program) -> tuple:
    a = program.array(where=lambda x: x.ndim > 0) if program.choices.chance(90) else program.array()
    return a, index(program, a)


def basic(item: Any) -> Any:
    """An integer array without axes is an int, whose view is no copy."""
    if isinstance(item, tuple):
        return tuple(map(basic, item))
    if isinstance(item, np.ndarray) and item.ndim == 0 and kind(item.dtype) == 1:
        return int(item)
    return item


def check(where: Any) -> None:
    """NumPy takes for a field's name, or for nothing, what is no index."""
    for item in where if isinstance(where, tuple) else (where,):
        if isinstance(item, (str, dict, float, np.floating)) or type(item) is object:
            raise Refused("no index")
        if isinstance(item, slice) and isinstance(item.stop, float):
            raise Refused("a slice to a float")
        if isinstance(item, (list, np.ndarray)) and np.asarray(item).size and np.asarray(item).dtype.kind not in "iub":
            raise Refused("indices that are not integers")


def with_ellipsis(where: Any) -> tuple:
    """The same index, but that of a single element it gives a view, as Needle's do."""
    where = where if isinstance(where, tuple) else (where,)
    return where if any(item is Ellipsis for item in where) else (*where, Ellipsis)


@contextlib.contextmanager
def warning_as_error():
    """NumPy only warns of an index outside where nothing is picked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            yield
    except DeprecationWarning as error:
        raise Refused(str(error)) from None


def picked(a, where):
    check(where)
    with warning_as_error():
        result = a[basic(where)]
    if result.ndim > MAX_DIMS:
        raise Refused(f"{result.ndim} axes")
    return a[with_ellipsis(basic(where))] if isinstance(result, np.generic) else result


def read(a, where):
    return Exactly(np.asarray(picked(a, where)))


# Writing


def array_index_and_value(program) -> tuple:
    """The value broadcasts to what the index picks, but seldom."""
    choices = program.choices
    a = program.array(where=lambda x: program.writable(x))
    where = index(program, a)
    try:
        shape = np.shape(a.array[basic(program.reference(where))])
    except Exception:  # no index: any value will do
        shape = ()
    form = choices.integer(0, 9)
    if form < 4:
        return a, where, program.number()
    if choices.chance(4):
        shape = (*shape, 7)
    shape = tuple(1 if choices.chance(15) else extent for extent in shape[choices.integer(0, len(shape)) :])
    if int(np.prod(shape, dtype=int)) > 60 or len(shape) > 5:
        shape = ()
    if form < 6:
        return a, where, program.foreign(shape)
    if form == 6 and choices.chance(60):
        return a, where, a  # which overlaps with itself
    return a, where, program.leaf(shape)


def write(a, where, value) -> None:
    """a[where] = value. Arrays are converted as astype does; of a number the integer part has to fit."""
    check(where)
    value = stored(value, a.dtype)
    shape = np.shape(picked(a, where))
    surplus = max(0, value.ndim - len(shape))
    if set(value.shape[:surplus]) - {1} or np.broadcast_shapes(value.shape[surplus:], shape) != shape:
        raise Refused(f"a value of shape {value.shape}")  # NumPy takes any where nothing is picked
    try:
        with warning_as_error():
            a[with_ellipsis(basic(where))] = value
    except TypeError as error:  # a mask, and a value of more axes than one
        raise Refused(str(error)) from None


def stored(value, dtype: np.dtype) -> np.ndarray:
    """What is not Needle's has any dtype; numbers, alone or in lists, have to fit into an integer dtype."""
    if isinstance(value, Foreign):
        values = np.asarray(value.data)
        if values.dtype.kind not in "iubfV":
            raise Refused(f"dtype {values.dtype}")
        if isinstance(value.data, np.ndarray) and values.ndim:
            return converted(values, dtype)
        if values.ndim:
            flat = [stored(number, dtype) for number in values.ravel().tolist()]
            return np.array(flat, dtype).reshape(values.shape)
    value = own(value, dtype)
    if not isinstance(value, Number):
        return converted(value, dtype)
    if dtype == BOOL:
        return np.asarray(value.value != 0)
    if kind(dtype) == 2:
        return np.asarray(as_float(value.value)).astype(dtype)
    return fitting(int(value.value) if math.isfinite(as_float(value.value)) else value.value, dtype)


_ERRORS = "index|indices|take|gather|slice"

READING = [Operation("{0}[{1}]", read, array_and_index, _ERRORS, formula=picked, view=True, weight=8)]
WRITING = [
    Operation("{0}.__setitem__({1}, {2})", write, array_index_and_value, f"setitem|{_ERRORS}", (NDARRAY,), weight=5)
]
