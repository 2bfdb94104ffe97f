"""Numbers beside tensors, and tensors of two dtypes: values and dtypes as PyTorch's, but for announced differences."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
import torch

import needle as ndl
from needle import ops
from needle.backend_ndarray.dtype import DTYPES, as_dtype
from tests.peers.comparison import EPSILON
from tests.peers.differences import DIFFERENCES

DTYPE_NAMES = [str(dtype) for dtype in DTYPES]
ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}
COMPARISONS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
OPERATORS = ARITHMETIC | COMPARISONS
NUMBERS = [
    True, 0, 1, -1, 2, 3, 100, 200, 300, -200, 2**31, 2**40, 2**63, 0.0, 0.5, 2.5, 0.1, -1.5, 1e5, 1e-9,
    math.inf, -math.inf, math.nan,
]  # fmt: skip


def values_of(dtype: str) -> np.ndarray:
    return np.array([0, 1, 1, 0]) if dtype == "bool" else np.array([0, 1, 2, 3])


def tensors(values: np.ndarray, dtype: str) -> tuple[ndl.Tensor, torch.Tensor]:
    return ndl.Tensor(values, dtype=dtype, requires_grad=False), torch.tensor(values).to(getattr(torch, dtype))


def outcome(call) -> tuple[str, np.ndarray | None]:
    """The dtype of a result and its values, exactly; or "error"."""
    try:
        result = call()
    except (RuntimeError, TypeError, ndl.NeedleError):
        return "error", None
    if isinstance(result, torch.Tensor):
        dtype = str(result.dtype).removeprefix("torch.")
        return dtype, (result.double() if result.is_floating_point() else result).numpy()
    dtype = str(result.dtype)
    return dtype, result.numpy().astype(np.float64) if dtype in EPSILON else result.numpy()


def same(ours: tuple, theirs: tuple) -> bool:
    """The same dtype and, but for two units in the last place, the same values."""
    if ours[0] != theirs[0] or "error" in (ours[0], theirs[0]):
        return ours[0] == theirs[0]
    tolerance = 2 * EPSILON.get(ours[0], 0)
    return np.allclose(ours[1], theirs[1], rtol=tolerance, atol=0, equal_nan=True)


def announced(symbol: str, dtype: str, number) -> str | None:
    """The name in differences.py of the difference that a number makes, if any."""
    dtype = as_dtype(dtype)
    if dtype.kind != "floating" and type(number) is int:
        limits = np.iinfo(np.int64 if dtype.kind == "bool" else dtype.numpy)
        if not limits.min <= number <= limits.max:
            return "integers out of range" if symbol in ARITHMETIC else "comparisons with integers out of range"
    if symbol == "-" and "bool" in (dtype, type(number).__name__):
        return "bools in subtractions"
    if symbol == "**" and dtype.kind == "bool" and number is True:
        return "powers of bools"
    if dtype in ("bfloat16", "float16") and symbol in ARITHMETIC:
        with np.errstate(over="ignore"):
            as_half = float(np.array(float(number)).astype(dtype.numpy))
        if as_half != number and number == number:
            return "numbers beside half types"
    return None


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("symbol", OPERATORS)
def test_numbers_beside_tensors(symbol, dtype):
    ours, theirs = tensors(values_of(dtype), dtype)
    function = OPERATORS[symbol]
    for number in NUMBERS:
        for first in (False, True):
            mine = outcome(lambda: function(number, ours) if first else function(ours, number))
            other = outcome(lambda: function(number, theirs) if first else function(theirs, number))
            if announced(symbol, dtype, number) is None:
                assert same(mine, other), f"{number!r} {'before' if first else 'after'}: {mine}, PyTorch's {other}"


def test_what_is_announced_differs():
    """For each name some of the numbers give something else."""
    found = {}
    for dtype in DTYPE_NAMES:
        ours, theirs = tensors(values_of(dtype), dtype)
        for symbol, function in OPERATORS.items():
            for number in NUMBERS:
                if name := announced(symbol, dtype, number):
                    mine, other = outcome(lambda: function(ours, number)), outcome(lambda: function(theirs, number))
                    identical = mine[0] == other[0] and np.array_equal(mine[1], other[1])
                    found[name] = found.get(name, 0) + (not identical)
    assert all(found.values()) and set(found) <= {difference.name for difference in DIFFERENCES}, found


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("other_dtype", DTYPE_NAMES)
def test_two_dtypes(dtype, other_dtype):
    values = values_of("bool" if "bool" in (dtype, other_dtype) else dtype)
    others = np.array([1, 1, 0, 1]) if "bool" in (dtype, other_dtype) else np.array([1, 2, 3, 0])
    (a, their_a), (b, their_b) = tensors(values, dtype), tensors(others, other_dtype)
    for symbol, function in OPERATORS.items():
        mine, other = outcome(lambda: function(a, b)), outcome(lambda: function(their_a, their_b))
        if {dtype, other_dtype} == {"int8", "uint8"} and symbol in ("+", "-", "*", "**"):
            assert (mine[0], other[0]) == ("int32", "int16")  # announced: "int8 and uint8 together"
            other = ("int32", other[1])
        if symbol == "-" and "bool" in (dtype, other_dtype) and dtype != other_dtype:
            assert other[0] == "error"  # announced: "bools in subtractions"
            continue
        assert same(mine, other), f"{symbol}: {mine}, PyTorch's {other}"


_FUNCTIONS = {
    "abs": torch.abs, "cos": torch.cos, "erf": torch.erf, "exp": torch.exp, "log": torch.log, "max": torch.max,
    "min": torch.min, "negate": torch.neg, "relu": torch.relu, "sigmoid": torch.sigmoid, "sign": torch.sign,
    "sin": torch.sin, "sqrt": torch.sqrt, "sum": torch.sum, "tanh": torch.tanh,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("name", _FUNCTIONS)
def test_functions_of_integers(name, dtype):
    ours, theirs = tensors(np.array([0, 1, 5, 100]), dtype)
    mine, other = outcome(lambda: getattr(ops, name)(ours)), outcome(lambda: _FUNCTIONS[name](theirs))
    assert other[0] != "error" and same(mine, other), f"{mine}, PyTorch's {other}"
