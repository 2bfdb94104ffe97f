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
import operator
from collections.abc import Callable
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from needle.backend_ndarray.dtype import DType
from needle.errors import DTypeError, JitError, short, user_line
from needle.typing import Number


class Live:
    """A number that changes from call to call, in a function that is being recorded for needle.jit.

    It is what `recording.live` read, or the result of arithmetic with such a number, and each replay computes it anew.
    Whatever would take its value as it is now, such as math.sqrt or a comparison, raises JitError.
    """

    __slots__ = ("compute", "origins")

    def __init__(self, compute: Callable[[], Number], origins: tuple[object, ...] = ()) -> None:
        self.compute = compute
        self.origins = origins  # by whose lives a recorder knows whether somebody still holds the number

    @property
    def value(self) -> Number:
        """The value in this call."""
        return self.compute()

    def map(self, function: Callable[[Number], Number]) -> Live:
        """function(this number)"""
        compute = self.compute
        return Live(lambda: function(compute()), self.origins)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise JitError(
            f"{user_line()}: the number {self.value!r} may change from call to call, and its value is used here as it is now: expected "
            "arithmetic (+ - * / // % **), which each replay does anew, or this line outside the function"
        )

    __bool__ = __float__ = __int__ = __index__ = __round__ = __trunc__ = __floor__ = __ceil__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = __repr__ = __str__ = __format__ = __array__ = _refuse

    def __neg__(self) -> Live:
        return self.map(operator.neg)

    def __abs__(self) -> Live:
        return self.map(abs)


def _live_arithmetic(function: Callable[[Any, Any], Any], is_reflected: bool) -> Callable[[Live, object], object]:
    def method(self: Live, other: object) -> object:
        if type(other) is Live:
            left, right = self.compute, other.compute
            return Live(lambda: function(left(), right()), self.origins + other.origins)
        if type(other) not in NUMBER_TYPES:
            return NotImplemented
        return self.map(lambda value: function(other, value) if is_reflected else function(value, other))

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Live, f"__{_name}__", _live_arithmetic(getattr(operator, _name), False))
    setattr(Live, f"__r{_name}__", _live_arithmetic(getattr(operator, _name), True))

NUMBER_TYPES = frozenset((bool, int, float, Live))


def number_type(x: Number | Live) -> type:
    """bool, int or float"""
    return type(x.value) if isinstance(x, Live) else type(x)


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
    if isinstance(number, Live):
        return number.map(lambda value: value_in(op, value, dtype))
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
