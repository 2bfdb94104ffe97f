"""Functions of one operand that work element by element, conversions, and the choice between two operands."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.programs import values
from tests.programs.agreement import Exactly, unit, within
from tests.programs.operation import NDARRAY, TENSOR, Operation
from tests.programs.rules import (
    FLOAT32, INT64, Number, Refused, cast, common, computed_in, converted, kind, own_pair, wider,
)  # fmt: skip
from tests.programs.values import BOOL, DTYPES


def one(program) -> tuple:
    return (program.array(),)


def positive(program) -> tuple:
    """Of what has a logarithm; only where gradients are wanted."""
    return (program.array(where=lambda a: bool((a > 0.05).all())) if program.smooth else program.array(),)


def function(formula: Callable, ulps: float | Callable[[np.ndarray], np.ndarray]) -> Callable:
    """The expectation of a floating function, which is float32 of integers and bools.

    ulps: how many units in the last place the result may be off, or a function of the operand that says so.
    """

    def expected(a):
        dtype = a.dtype if kind(a.dtype) == 2 else FLOAT32
        x = a.astype(dtype)
        if not ulps:
            return Exactly(np.asarray(formula(x.astype(computed_in(dtype)))).astype(dtype))
        x = x.astype(wider(dtype))
        exact = np.asarray(formula(x))
        units = ulps(x) if callable(ulps) else ulps
        return within(exact, np.where(exact == 0, 0, units * unit(exact, dtype)), dtype)

    return expected


def numeric(op: str, formula: Callable, signed_zeros: bool = True) -> Callable:
    """The expectation of a function that keeps the dtype, and that bools have not."""

    def expected(a):
        if a.dtype == BOOL:
            raise Refused(f"{op} of bools")
        return Exactly(np.asarray(formula(a.astype(computed_in(a.dtype)))).astype(a.dtype), signed_zeros)

    return expected


def logical_not(a):
    if a.dtype != BOOL:
        raise Refused("expected bools")
    return Exactly(np.asarray(np.logical_not(a)))


def _relu(a):
    return np.where(a > 0, a, np.where(np.isnan(a), a, a.dtype.type(0))) if a.dtype.kind == "f" else np.maximum(a, 0)


def _sigmoid(a):
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(a))
        return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def _erf(a):
    return np.vectorize(math.erf, otypes=[np.float64])(a).astype(a.dtype) if a.size else a


def _gelu(a):
    """a / 2 erfc(-a / sqrt(2)), in float64: the roundings of its argument, of half a unit each, count a^2 times."""
    tail = np.vectorize(math.erfc, otypes=[np.float64])(-a / math.sqrt(2)) if a.size else a
    return np.where(np.isneginf(a), -0.0, a / 2 * tail).astype(a.dtype)


def _both(name: str, expected: Callable, formula: Callable, arguments: Callable = one, **rest) -> list[Operation]:
    """A function of Tensors (`ops`) and of NDArrays (`elementwise`)."""
    return [
        Operation(f"ops.{name}({{0}})", expected, arguments, name, (TENSOR,), formula=formula, **rest),
        Operation(f"elementwise.{name}({{0}})", expected, arguments, name, (NDARRAY,), weight=1),
    ]


def _floating(name: str, formula: Callable, ulps, arguments: Callable = one) -> list[Operation]:
    return _both(name, function(formula, ulps), formula, arguments)


# The bounds in ulps are those of kernels/cpu/vector_math.h and, rounded up, of NumPy's and CUDA's functions.
UNARY = [
    Operation("-{0}", numeric("negate", np.negative), one, "negate|-", formula=np.negative),
    Operation("abs({0})", numeric("abs", np.abs), one, "abs", formula=np.abs, pattern=np.sign),
    Operation("~{0}", logical_not, one, "logical_not|~", (NDARRAY,)),
    *_floating("exp", np.exp, 2.5),
    *_floating("log", np.log, 2.5, positive),
    *_floating("sqrt", np.sqrt, 0, positive),
    *_floating("sin", np.sin, 2.5),
    *_floating("cos", np.cos, 2.5),
    *_floating("tanh", np.tanh, 3),
    *_floating("sigmoid", _sigmoid, 3.5),
    *_floating("erf", _erf, 2.5),
    *_floating("gelu", _gelu, lambda a: 8 + 2 * np.minimum(a * a, 2000)),
    *_both("relu", numeric("relu", _relu, signed_zeros=False), _relu, pattern=lambda a: a > 0),
    *_both("sign", numeric("sign", np.sign), np.sign),
    Operation("elementwise.floor({0})", function(np.floor, 0), one, "floor", (NDARRAY,)),
    Operation("elementwise.ceil({0})", function(np.ceil, 0), one, "ceil", (NDARRAY,)),
]

# Choosing and converting


def condition_and_two(program) -> tuple:
    likely = program.smooth or program.choices.chance(95)
    condition = program.array(lambda dtype: dtype == BOOL) if likely else program.array()
    return condition, program.beside(condition), program.beside(condition)


def condition_array_and_other(program) -> tuple:
    condition = program.array(lambda dtype: dtype == BOOL)
    a = program.leaf(values.broadcastable(program.choices, condition.shape))
    b = program.number() if program.choices.chance(50) else program.leaf(condition.shape)
    return (condition, b, a) if program.choices.chance(50) else (condition, a, b)


def where(condition, a, b):
    """Two numbers are bool, int64 or float32, as they are."""
    if condition.dtype != BOOL:
        raise Refused("expected bools")
    x, y = own_pair(a, b)
    if isinstance(x, Number) and isinstance(y, Number):
        dtype = (BOOL, INT64, FLOAT32)[max(x.kind, y.kind)]
    else:
        dtype = common(x, y)
    x, y = (cast(z, dtype) for z in (x, y))
    return Exactly(np.where(condition, x, y).astype(dtype))


def to_dtype(program) -> tuple:
    wrong = program.choices.chance(2)
    return program.array(), "complex64" if wrong else program.choices.pick(DTYPES).name


def astype(a, name: str):
    if name == "complex64":
        raise Refused("no dtype of Needle's")
    return Exactly(converted(a, np.dtype(name) if name != "bfloat16" else values.BFLOAT16))


CHOOSING = [
    Operation("ops.where({0}, {1}, {2})", where, condition_and_two, "where", (TENSOR,), formula=np.where),
    Operation("elementwise.where({0}, {1}, {2})", where, condition_array_and_other, "where", (NDARRAY,)),
    Operation("{0}.astype({1})", astype, to_dtype, "dtype|cast", weight=4),
    Operation("ops.cast({0}, {1})", astype, to_dtype, "dtype|cast", (TENSOR,), weight=1),
]
