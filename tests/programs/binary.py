"""Operators and functions of two operands that work element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.programs.agreement import Exactly, unit, within
from tests.programs.operation import NDARRAY, TENSOR, Operation
from tests.programs.rules import FLOAT32, Number, Refused, cast, common, kind, own_pair, wider
from tests.programs.values import BOOL, Foreign


def two(program) -> tuple:
    """An array and anything that may stand beside it, in either order."""
    a = program.array()
    b = program.beside(a)
    return (b, a) if program.choices.chance(40) and not isinstance(b, str) else (a, b)  # "text" % a is Python's own


def two_to_compare(program) -> tuple:
    """Without complex numbers, which are no number of Needle's and yet may be equal to one."""
    a, b = two(program)
    return tuple(None if isinstance(x, (complex, np.complexfloating)) else x for x in (a, b))


def two_for_power(program) -> tuple:
    """Without NumPy's array ** an integer Tensor of no axes: NumPy takes that for a number, which it is free to do."""
    a, b = two(program)
    numpys_own = isinstance(a, Foreign) and kind(b.dtype) == 1 and not b.ndim
    return (b, a) if numpys_own else (a, b)


def array_first(program) -> tuple:
    a = program.array()
    return a, program.beside(a)


def two_bools(program) -> tuple:
    a = program.array(lambda dtype: dtype == BOOL) if program.choices.chance(92) else program.array()
    if program.choices.chance(15):
        return a, program.choices.pick((True, False, np.True_, 1))
    return a, program.beside(a, dtype=BOOL)


def arithmetic(
    op: str,
    formula: Callable,
    ulps: float = 0,
    *,
    bools: bool = True,
    floating: bool = False,
    signed_zeros: bool = True,
) -> Callable:
    """The expectation of an operation on two operands, whose result has the dtype that they promote to.

    ulps: how many units in the last place the result may be off; 0 means that it is rounded correctly.
    bools: whether there is one for bools. floating: whether integers and bools give float32.
    """

    def expected(a, b):
        x, y = own_pair(a, b)
        dtype = common(x, y)
        if floating and kind(dtype) < 2:
            dtype = FLOAT32
        if not bools and dtype == BOOL:
            raise Refused(f"{op} of bools")
        x, y = cast(x, dtype), cast(y, dtype)
        if kind(dtype) < 2 or not ulps:
            return Exactly(np.asarray(formula(x, y)).astype(dtype), signed_zeros)
        exact = formula(x.astype(wider(dtype)), y.astype(wider(dtype)))
        return within(exact, np.where(exact == 0, 0, ulps * unit(exact, dtype)), dtype)

    return expected


def comparison(formula: Callable) -> Callable:
    """The expectation of a comparison. With a number it is exact, but that the number is rounded to a floating dtype.

    A finite number does not become infinite by that.
    """

    def expected(a, b):
        x, y = own_pair(a, b)
        if not isinstance(x, Number) and not isinstance(y, Number):
            dtype = common(x, y)
            return Exactly(np.asarray(formula(cast(x, dtype), cast(y, dtype))))

        def side(operand, other):
            if not isinstance(operand, Number):
                return operand.astype(np.longdouble)  # which holds all elements of all dtypes
            value = np.longdouble(operand.value)
            with np.errstate(over="ignore"):
                inside = value.astype(other.dtype) if kind(other.dtype) == 2 else value
            return np.longdouble(inside) if np.isfinite(inside) or not np.isfinite(value) else value

        return Exactly(np.asarray(formula(side(x, y), side(y, x))))

    return expected


def equality(formula: Callable, otherwise: bool) -> Callable:
    """== and !=, which answer for anything."""
    compare = comparison(formula)

    def expected(a, b):
        for x in (a, b):
            if x is None or isinstance(x, (str, dict)) or type(x) is object:
                return otherwise
        return compare(a, b)

    return expected


def logical(formula: Callable) -> Callable:
    def expected(a, b):
        x, y = own_pair(a, b)
        if common(x, y) != BOOL:
            raise Refused("expected bools")
        return Exactly(np.asarray(formula(cast(x, BOOL), cast(y, BOOL))))

    return expected


_float_power = arithmetic("power", np.power, ulps=4, bools=False)


def power(a, b):
    """An integer to the power of a negative number is refused."""
    x, y = own_pair(a, b)
    powers = np.asarray(y.value if isinstance(y, Number) else y)
    if kind(common(x, y)) < 2 and (powers < 0).any():
        raise Refused("a negative power of integers")
    return _float_power(a, b)


def _kinks_of_power(a, b):
    """NaN, which is another wherever one looks, where a partial derivative is undefined although the program has one.

    That is at bases of 0, and at negative ones where the power is an array, which may vary.
    """
    a = np.asarray(a, np.longdouble)
    varies = isinstance(b, (np.ndarray, np.longdouble))
    return np.where((a < 0) & varies | (a == 0), np.nan, 0)


def _order(a, b):
    return np.sign(np.asarray(a, np.longdouble) - b)


add = arithmetic("add", np.add)
subtract = arithmetic("subtract", np.subtract, bools=False)
multiply = arithmetic("multiply", np.multiply)
divide = arithmetic("divide", np.divide, floating=True)
floor_divide = arithmetic("floor_divide", np.floor_divide, bools=False)
remainder = arithmetic("remainder", np.remainder, bools=False)
maximum = arithmetic("maximum", np.maximum, signed_zeros=False)
minimum = arithmetic("minimum", np.minimum, signed_zeros=False)

BINARY = [
    Operation("{0} + {1}", add, two, r"add|\+", formula=np.add, weight=6),
    Operation("{0} - {1}", subtract, two, "subtract|-", formula=np.subtract, weight=6),
    Operation("{0} * {1}", multiply, two, r"multiply|\*", formula=np.multiply, weight=6),
    Operation("{0} / {1}", divide, two, "divide|/", formula=np.divide, weight=6),
    Operation("{0} // {1}", floor_divide, two, "floor_divide|//", (NDARRAY,)),
    Operation("{0} % {1}", remainder, two, "remainder|%", (NDARRAY,)),
    Operation("{0} ** {1}", power, two_for_power, r"pow|\*\*", formula=np.power, pattern=_kinks_of_power, weight=4),
    Operation("ops.add({0}, {1})", add, two, "add", (TENSOR,), formula=np.add),
    Operation("ops.subtract({0}, {1})", subtract, two, "subtract", (TENSOR,), formula=np.subtract),
    Operation("ops.multiply({0}, {1})", multiply, two, "multiply", (TENSOR,), formula=np.multiply),
    Operation("ops.divide({0}, {1})", divide, two, "divide", (TENSOR,), formula=np.divide),
    Operation("ops.power({0}, {1})", power, two_for_power, "pow", (TENSOR,), formula=np.power, pattern=_kinks_of_power),
    Operation("ops.maximum({0}, {1})", maximum, array_first, "maximum", (TENSOR,), formula=np.maximum, pattern=_order),
    Operation("ops.minimum({0}, {1})", minimum, array_first, "minimum", (TENSOR,), formula=np.minimum, pattern=_order),
    Operation("{0}.maximum({1})", maximum, array_first, "maximum", (NDARRAY,)),
    Operation("elementwise.minimum({0}, {1})", minimum, two, "minimum", (NDARRAY,)),
    Operation("{0} == {1}", equality(np.equal, False), two_to_compare, "equal"),
    Operation("{0} != {1}", equality(np.not_equal, True), two_to_compare, "equal"),
    *(
        Operation(f"{{0}} {sign} {{1}}", comparison(f), two, f"less|greater|{sign}", formula=f, pattern=f)
        for sign, f in (("<", np.less), ("<=", np.less_equal), (">", np.greater), (">=", np.greater_equal))
    ),
    Operation("{0} & {1}", logical(np.logical_and), two_bools, "logical_and|&", (NDARRAY,)),
    Operation("{0} | {1}", logical(np.logical_or), two_bools, r"logical_or|\|", (NDARRAY,)),
    Operation("{0} ^ {1}", logical(np.logical_xor), two_bools, r"logical_xor|\^", (NDARRAY,)),
]
