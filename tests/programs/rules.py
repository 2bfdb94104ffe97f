"""Which dtype an operation has and in which it is computed: the documented rules, written down a second time.

- Two dtypes promote as in the array API standard. Where it leaves that open: of bool, integer and floating the later
  kind decides; int8 with uint8 is int32, float16 with bfloat16 float32.
- A number (Python's, NumPy's, or an array without axes) has no width: it keeps its value, and the array's dtype
  decides. Only its kind counts: an int beside bools gives int64, a float beside integers or bools float32.
- NumPy's float64 arrays and lists of floats are float32, Needle's default, but beside float64.
- Half types are computed in float32, where numbers beside them are float32 as well, and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from tests.programs.values import BFLOAT16, BOOL, DTYPES, Foreign

FLOAT16, FLOAT32, FLOAT64 = map(np.dtype, ("float16", "float32", "float64"))
INT32, INT64 = map(np.dtype, ("int32", "int64"))
HALF = (FLOAT16, BFLOAT16)


class Refused(Exception):
    """What Needle has to refuse with an error of its own."""


@dataclass(frozen=True)
class Number:
    value: bool | int | float

    @property
    def kind(self) -> int:
        return 0 if isinstance(self.value, bool) else 1 if isinstance(self.value, int) else 2


def kind(dtype: np.dtype) -> int:
    """0 bool, 1 integer, 2 floating"""
    return 0 if dtype == BOOL else 1 if dtype.kind in "iu" else 2


def promoted(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b:
        return a
    if kind(a) != kind(b):
        return a if kind(a) > kind(b) else b
    if a.itemsize != b.itemsize:
        return a if a.itemsize > b.itemsize else b
    return INT32 if kind(a) == 1 else FLOAT32


def computed_in(dtype: np.dtype) -> np.dtype:
    return FLOAT32 if dtype in HALF else dtype


def wider(dtype: np.dtype) -> np.dtype:
    """A dtype in which what is computed in `dtype` can be computed with errors that do not count."""
    return np.dtype(np.longdouble) if dtype == FLOAT64 else FLOAT64


def own(x, like: np.dtype | None = None) -> np.ndarray | Number:
    """An operand as a Number, or as an array of one of Needle's dtypes: that of a foreign one beside `like`."""
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, Foreign):
        try:
            x = np.asarray(x.data)
        except ValueError:
            raise Refused("ragged") from None
        if x.ndim:
            if x.dtype not in DTYPES:
                raise Refused(f"dtype {x.dtype}")
            default = x.dtype == FLOAT64 and (like is None or like != FLOAT64)  # NumPy: float64 == None is true
            return x.astype(FLOAT32) if default else x
        x = x[()]
    if isinstance(x, (bool, np.bool_)):
        return Number(bool(x))
    if isinstance(x, (int, np.integer)):
        return Number(int(x))
    if isinstance(x, (float, np.floating, ml_dtypes.bfloat16)):
        return Number(float(x))
    raise Refused(f"an operand of type {type(x).__name__}")


def own_pair(a, b) -> tuple:
    """Two operands, one of which is an array of Needle's, beside one another."""
    like = [x.dtype if isinstance(x, np.ndarray) else None for x in (a, b)]
    return own(a, like[1]), own(b, like[0])


def common(*operands: np.ndarray | Number) -> np.dtype:
    """The dtype that operands promote to; at least one is an array."""
    dtypes = [x.dtype for x in operands if not isinstance(x, Number)]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = promoted(dtype, other)
    for x in operands:
        if isinstance(x, Number) and x.kind > kind(dtype):
            dtype = INT64 if x.kind == 1 else FLOAT32
    return dtype


def as_float(value: bool | int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Refused("a number that no float holds") from None


def fitting(value: bool | int, dtype: np.dtype) -> np.ndarray:
    """An integer number as an integer dtype, which has to hold it."""
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise Refused(f"{value} does not fit into {dtype}")
    return np.asarray(value, dtype)


def cast(x: np.ndarray | Number, dtype: np.dtype) -> np.ndarray:
    """An operand in the dtype in which `dtype` is computed. Arrays are rounded to `dtype` first, numbers are not."""
    computed = computed_in(dtype)
    if not isinstance(x, Number):
        return x.astype(dtype, copy=False).astype(computed, copy=False)
    if kind(dtype) == 0:
        return np.asarray(bool(x.value))
    return fitting(x.value, dtype) if kind(dtype) == 1 else np.asarray(as_float(x.value)).astype(computed)


def converted(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """astype: floats to integers truncate and saturate, NaN gives 0; to bool is != 0; half types go by float32."""
    if a.dtype in HALF:
        a = a.astype(FLOAT32)
    if dtype in HALF and a.dtype not in (FLOAT64, dtype):
        a = a.astype(FLOAT32)
    if kind(a.dtype) < 2 or kind(dtype) != 1:
        return a.astype(dtype)
    limits = np.iinfo(dtype)
    values = np.trunc(np.nan_to_num(a.astype(np.longdouble), nan=0.0, posinf=np.inf, neginf=-np.inf))
    return np.clip(values, limits.min, limits.max).astype(dtype)
