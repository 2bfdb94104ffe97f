"""docs/special-values.md: every cell of its tables, on every device, in every floating dtype."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray.dtype import FLOATING

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "special-values.md"


def tables() -> dict[str, list[list[str]]]:
    """The rows of each table, by the heading above it; the first row is that of the columns' names."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("| ---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


TABLES = tables()
UNARY = {row[0]: row[1:] for row in TABLES["Functions of one operand"][1:]}
BINARY = {row[0]: row[1:] for row in TABLES["Functions of two operands"][1:]}
REDUCTIONS = {row[0]: row[1:] for row in TABLES["Functions of several elements"][1:]}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?(?:nan|inf|\d+\.?\d*)", text)]


def text_of(values: np.ndarray) -> str:
    """As the tables have it: two digits at most."""
    return ", ".join(re.sub(r"\.?0+$", "", f"{v:.2f}") if np.isfinite(v) and v else f"{v:g}" for v in np.ravel(values))


def call(function, arguments: list, dtype, device) -> str:
    """ "value; gradient of each operand" of one call with 1 as the adjoint of every element."""
    leaves = [Tensor(argument, dtype=dtype, device=device) for argument in arguments]
    out = function(*leaves)
    cells = [text_of(out.numpy().astype(np.float64))]
    if out.requires_grad:
        out.backward(ops.ones_like(out))
        cells.append(", ".join(text_of(leaf.grad.numpy().astype(np.float64)) for leaf in leaves))
    return "; ".join(cells)


def same(met: str, expected: str, dtype) -> bool:
    """Up to what the tables and the dtype round, and the sign of a gradient that is 0."""
    value, *grads = (np.array(numbers(cell)) for cell in met.split("; "))
    expected_value, *expected_grads = (np.array(numbers(cell)) for cell in expected.split("; "))
    zeros = expected_value == 0
    if not np.array_equal(np.signbit(value[zeros]), np.signbit(expected_value[zeros])):
        return False
    pairs = [(value, expected_value), *zip(grads, expected_grads)]
    eps = 4 * float(ml_dtypes.finfo(dtype.numpy).eps)
    return len(grads) == len(expected_grads) and all(np.allclose(m, e, eps, 0.006, equal_nan=True) for m, e in pairs)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_operand(name, dtype, device):
    arguments = TABLES["Functions of one operand"][0][1:]
    for argument, expected in zip(arguments, UNARY[name]):
        met = call(getattr(ops, name), [[float(argument)]], dtype, device)
        assert same(met, expected, dtype), f"{name}({argument}): {met}: expected {expected}"


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("pair", BINARY)
def test_functions_of_two_operands(pair, dtype, device):
    for name, expected in zip(TABLES["Functions of two operands"][0][1:], BINARY[pair]):
        met = call(getattr(ops, name), [[number] for number in numbers(pair)], dtype, device)
        assert same(met, expected, dtype), f"{name}({pair}): {met}: expected {expected}"


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("elements", REDUCTIONS)
def test_functions_of_several_elements(elements, dtype, device):
    functions = {"cross_entropy of label 0": lambda x: ops.softmax_cross_entropy(
        ops.reshape(x, (1, -1)), Tensor([0], dtype="int64", device=device))}  # fmt: skip
    for name, expected in zip(TABLES["Functions of several elements"][0][1:], REDUCTIONS[elements]):
        met = call(functions.get(name) or getattr(ops, name), [numbers(elements)], dtype, device)
        assert same(met, expected, dtype), f"{name}({elements}): {met}: expected {expected}"
