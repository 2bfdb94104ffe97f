"""What stands in a program: shapes, the contents of arrays, numbers, and arrays and lists that are not Needle's."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from tests.programs.choices import Choices

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATING = tuple(map(np.dtype, ("float32", "float64", "float16"))) + (BFLOAT16,)
INTEGERS = tuple(map(np.dtype, ("int64", "int32", "uint8", "int8")))
BOOL = np.dtype(bool)
DTYPES = (*FLOATING, *INTEGERS, BOOL)
FOREIGN_DTYPES = tuple(map(np.dtype, ("int16", "uint16", "uint32", "uint64")))  # NumPy's, which Needle has not

_POOL = 1009  # contents are slices of pools that repeat after so many elements


@dataclass(frozen=True)
class Foreign:
    """A NumPy array or a list where Needle's arrays are expected as well."""

    data: Any

    def __repr__(self) -> str:
        if isinstance(self.data, np.ndarray):
            return f"np.array({self.data.tolist()}, np.dtype({self.data.dtype.name!r}))"
        return repr(self.data)


@functools.lru_cache(maxsize=None)
def _pool(dtype: np.dtype, style: str) -> np.ndarray:
    """plain: small, exact numbers; spread: as measured data are; special: the ends of the range, NaN and infinities."""
    generator = np.random.default_rng(len(style))
    if dtype == BOOL:
        return generator.random(_POOL) < 0.5
    if dtype in INTEGERS:
        low = 0 if dtype.kind == "u" else -5
        values = generator.integers(low, 10, _POOL).astype(dtype)
        ends = np.iinfo(dtype)
        specials = np.array([ends.min, ends.max, ends.max - 1, 0, 1], dtype)
    else:
        values = generator.integers(-12, 13, _POOL) / 4 if style == "plain" else generator.normal(0, 3, _POOL)
        values = values.astype(dtype)
        ends = ml_dtypes.finfo(dtype)
        specials = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, ends.max, -ends.max, ends.tiny,
                             ends.smallest_subnormal, 100.0, -1000.0], np.float64).astype(dtype)  # fmt: skip
    if style == "special":
        values = np.where(generator.random(_POOL) < 0.4, generator.choice(specials, _POOL), values)
    return values.astype(dtype)


def _slice(choices: Choices, style: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    start = choices.integer(0, _POOL - 1)
    return (
        _pool(dtype, style).take(np.arange(start, start + int(np.prod(shape, dtype=int))), mode="wrap").reshape(shape)
    )


def contents(choices: Choices, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of that shape."""
    return _slice(choices, choices.pick(("plain", "plain", "spread", "special")), shape, dtype)


def smooth_contents(choices: Choices, shape: tuple[int, ...]) -> np.ndarray:
    """float64 of moderate size, mostly positive, so that logarithms and powers have a gradient."""
    values = np.abs(_slice(choices, "spread", shape, FLOATING[1])) + 0.125
    return -values if choices.chance(25) else values


EXTENTS = (2, 3, 1, 2, 3, 4, 1, 0)


def shape(choices: Choices) -> tuple[int, ...]:
    """Up to three axes of up to 4; seldom four axes, or no elements."""
    ndim = choices.pick((1, 2, 2, 3, 1, 0, 2, 3))
    return tuple(choices.pick(EXTENTS if choices.chance(15) else EXTENTS[:6]) for _ in range(ndim))


def broadcastable(choices: Choices, like: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with `like`, or, seldom, does not."""
    kept = like[choices.integer(0, len(like)) :] if choices.chance(40) else like
    result = tuple(1 if choices.chance(20) else extent for extent in kept)
    if choices.chance(4):
        result = (*result[:-1], 5)
    return result


def axis(choices: Choices, ndim: int) -> int:
    """An axis, counted from either end; seldom one that is not there."""
    if choices.chance(4):
        return choices.pick((ndim, -ndim - 1, 9))
    return choices.integer(-ndim, ndim - 1) if ndim else choices.pick((0, -1))


def axes(choices: Choices, ndim: int) -> Any:
    """None, an int or a tuple of them; seldom repeated, or something else."""
    form = choices.integer(0, 9)
    if form < 3:
        return None
    if form < 6:
        return axis(choices, ndim)
    if choices.chance(4):
        return choices.pick(((0, 0), 1.5, "x", (0.5,), object))
    first = choices.integer(0, ndim)
    return tuple(axis_number - ndim if choices.chance(30) else axis_number for axis_number in range(first, ndim))


# Numbers. The first are those that programs are full of; the others are where types end.

_SMALL_INTS = (1, 2, 0, 3, -1, 5, 7, -2, 100)
_INTS = (127, 128, -128, -129, 200, 255, 256, 300, -300, 65504, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1,
         2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**30, -(10**30), 10**400)  # fmt: skip
_SMALL_FLOATS = (1.0, 2.0, 0.5, 0.1, -1.5, 0.0, 3.0, -1.0, 1e-3, 41.0)
_FLOATS = (-0.0, 1e5, 65504.0, 65520.0, 1e10, -1e10, 1e300, -1e300, 1e-300, float("inf"), float("-inf"), float("nan"),
           16777217.0, 255.5)  # fmt: skip
_SCALAR_TYPES = tuple(dtype.type for dtype in (*DTYPES, *FOREIGN_DTYPES))


def python_number(choices: Choices) -> bool | int | float:
    form = choices.integer(0, 9)
    if form < 4:
        return choices.pick(_SMALL_INTS)
    if form < 7:
        return choices.pick(_SMALL_FLOATS)
    return choices.pick(choices.pick((_INTS, _FLOATS, (False, True))))


def numpy_scalar(choices: Choices) -> np.generic:
    kind = choices.pick(_SCALAR_TYPES)
    dtype = np.dtype(kind)
    if dtype in FOREIGN_DTYPES:
        return kind(choices.pick((1, 2, 0, 7, np.iinfo(dtype).max)))
    return contents(choices, (1,), dtype)[0]


def number(choices: Choices) -> Any:
    """Python's, or NumPy's: a scalar or an array without axes."""
    form = choices.integer(0, 9)
    if form < 6:
        return python_number(choices)
    return numpy_scalar(choices) if form < 9 else Foreign(np.array(numpy_scalar(choices)))


def foreign_array(choices: Choices, shape: tuple[int, ...]) -> Foreign:
    """A NumPy array of any dtype and layout, or nested lists."""
    dtype = choices.pick((*DTYPES, FLOATING[1], FLOATING[1]))
    values = contents(choices, shape, dtype)
    if choices.chance(4):
        values = values.astype(choices.pick(FOREIGN_DTYPES)) if dtype in INTEGERS else values
    form = choices.integer(0, 9)
    if form == 0:
        return Foreign(np.asfortranarray(values))
    if form == 1 and shape:
        return Foreign(values[::-1])
    return Foreign(values.tolist()) if form < 5 and shape else Foreign(values)


STRANGERS = (None, "text", object(), 1j, {}, np.complex64(1), Foreign(np.array(["a"])), Foreign([[1], [2, 3]]))
