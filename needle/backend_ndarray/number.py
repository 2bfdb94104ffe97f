"""Numbers as operands beside arrays: Python numbers, NumPy scalars and NumPy 0-d arrays, all treated as Python numbers.

A number has no width of its own. It keeps its value and takes part in the arithmetic of the array's dtype, see
`promote_scalar`. Arithmetic on float16 and bfloat16 is done in float32, so there a number is a float32. A comparison
with integers uses the exact value of the number. A comparison with floats rounds it to their dtype, just as 0.1 is
rounded when it is stored in an array, but a finite number never becomes infinite.
"""

from __future__ import annotations

import decimal
import math
import numbers

import ml_dtypes
import numpy as np

from needle.backend_ndarray.dtype import DType
from needle.errors import DTypeError, short
from needle.typing import Number

NUMBER_TYPES = frozenset((bool, int, float))


def as_number(x: object) -> Number | None:
    """x as a Python number, or None if it is not a number."""
    if type(x) in NUMBER_TYPES:
        return x  # type: ignore[return-value]  # mypy does not narrow by a set of types
    if isinstance(x, np.generic) or isinstance(x, np.ndarray) and x.ndim == 0:
        if x.dtype.kind == "b":
            return bool(x)
        if x.dtype.kind in "iu":
            return int(x)
        return float(x) if x.dtype.kind == "f" or x.dtype == ml_dtypes.bfloat16 else None
    if isinstance(x, int):  # a subclass, such as an IntEnum
        return int(x)
    return float(x) if isinstance(x, (numbers.Real, decimal.Decimal)) else None


def value_in(op: str, number: Number, dtype: DType) -> Number:
    """The value that an operation in `dtype` uses. Raises DTypeError for an integer that the dtype cannot hold."""
    if dtype.kind == "floating":
        try:
            return float(number)
        except OverflowError:
            raise DTypeError(
                f"{op}: {short(number)} does not fit into {dtype}: expected at most about 1.8e308"
            ) from None
    if dtype.kind == "bool":
        return bool(number)
    low, high = limits(dtype)
    if not low <= number <= high:
        raise DTypeError(f"{op}: {short(number)} does not fit into {dtype}: expected {low} to {high}")
    return int(number)


def limits(dtype: DType) -> tuple[int | float, int | float]:
    """The smallest and the largest finite number of a dtype."""
    info = np.iinfo(dtype.numpy) if dtype.kind == "integer" else ml_dtypes.finfo(dtype.numpy)
    python = int if dtype.kind == "integer" else float
    return python(info.min), python(info.max)


def comparison(op: str, number: Number, dtype: DType, number_is_left: bool) -> tuple[str, Number] | bool:
    """(op, number) of an equivalent comparison within `dtype`, or a bool if the result is the same for all elements.

    `op` is equal, not_equal, less or less_equal. It compares an array of `dtype` with the number, or the number with
    the array if `number_is_left`.
    """
    if dtype.kind == "bool":
        return op, number
    ordered = op in ("less", "less_equal")
    low, high = limits(dtype)
    if number != number:
        return (op == "not_equal") if dtype.kind == "integer" else (op, number)
    if dtype.kind == "floating" and (low <= number <= high or abs(number) == math.inf):
        return op, float(np.float64(number).astype(dtype.numpy))
    if number > high or number < low:
        if not ordered:
            return op == "not_equal"
        above = number > high
        if dtype.kind == "integer":
            return above is not number_is_left
        # Between the largest finite number and infinity: a < number if a <= high, number < a if high < a.
        return (
            ("less_equal", high if above else low) if above is not number_is_left else ("less", high if above else low)
        )
    if number == int(number):
        return op, int(number)
    if not ordered:
        return op == "not_equal"
    # a < 2.5 if a < 3, a <= 2.5 if a <= 2, 2.5 < a if 2 < a, 2.5 <= a if 3 <= a
    return op, math.ceil(number) if (op == "less") is not number_is_left else math.floor(number)
