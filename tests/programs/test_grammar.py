"""That programs find faults: each operation is reached and mostly runs, and faults that are put in are told."""

from __future__ import annotations

from collections import Counter

import pytest

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray import NDArray, default_device
from tests.programs.choices import Seeded
from tests.programs.gradients import run_gradient_program
from tests.programs.lines import Statement
from tests.programs.operation import NDARRAY, TENSOR
from tests.programs.program import Mismatch, run_program
from tests.programs.table import ALL, OPERATIONS, SMOOTH
from tests.programs.values import DTYPES


@pytest.mark.parametrize("face", (TENSOR, NDARRAY))
def test_every_operation_gives_results(face):
    """Of every dtype something, and of every operation: what only ever raises errors would test nothing."""
    operations, dtypes = Counter(), Counter()
    for seed in range(1500):
        program = run_program(Seeded(seed), face, default_device(), DTYPES[seed % len(DTYPES)])
        statements = [line for _, line, _ in program.lines if isinstance(line, Statement)]
        operations.update({line.operation.text for line in statements})
        dtypes.update(variable.dtype.name for variable in program.variables if isinstance(variable.line, Statement))
    assert {operation.text for operation in OPERATIONS[face] if operations[operation.text] < 5} == set()
    assert {dtype.name for dtype in DTYPES if dtypes[dtype.name] < 100} == set()


def broken(text: str, change) -> None:
    """Puts `change(result, *arguments)` in the place of the result of the operation of that text."""
    for operation in ALL:
        if operation.text == text:
            right = operation.needle
            object.__setattr__(operation, "needle", lambda *arguments: change(right(*arguments), *arguments))
            return lambda: object.__setattr__(operation, "needle", right)
    raise KeyError(text)


def raises(error):
    raise error


def overwrite(array: NDArray) -> None:
    array[...] = 1


FAULTS = {
    "a value": ("{0} * {1}", lambda out, a, b: out + (out == 6)),
    "a sign of zero": ("-{0}", lambda out, a: out + 0.0 if out.dtype.kind == "floating" else out),
    "a rounding": ("{0} / {1}", lambda out, a, b: (out.astype("float32") * 3 / 3).astype(out.dtype)),
    "NaN": ("{0}.max({1})", lambda out, a, axes: ops.where(out != out, 0, out)),
    "a dtype": ("{0} + {1}", lambda out, a, b: out.astype("float64") if out.dtype == "float32" else out),
    "a shape": ("{0}.sum({1})", lambda out, a, axes: out.reshape(-1)),
    "no error": ("{0} @ {1}", None),
    "a wrong error": ("{0}.reshape({1})", None),
    "an array that changed": ("{0}.argmax({1})", lambda out, a, axis: overwrite(a.cached_data) or out),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    text, change = FAULTS[fault]
    undo = broken(text, change) if change else broken_error(text, fault)
    try:
        with pytest.raises(Mismatch):
            for seed in range(4000):
                run_program(Seeded(seed), TENSOR, default_device(), DTYPES[seed % len(DTYPES)])
    finally:
        undo()


def broken_error(text: str, fault: str):
    """An operation that gives 0 where it should raise, or raises an error that names nothing."""
    operation = next(operation for operation in ALL if operation.text == text)
    right = operation.needle

    def wrong(*arguments):
        try:
            return right(*arguments)
        except Exception:
            return Tensor(0.0) if fault == "no error" else raises(ValueError("no"))

    object.__setattr__(operation, "needle", wrong)
    return lambda: object.__setattr__(operation, "needle", right)


@pytest.mark.parametrize("op, change", [
    (ops.EWiseMul, lambda grads: (grads[0], None)),
    (ops.MatMul, lambda grads: tuple(grad and grad * 1.0001 for grad in grads)),
    (ops.Summation, lambda grad: grad * 2),
    (ops.GetItem, lambda grad: grad * 0),
])  # fmt: skip
def test_a_faulty_gradient_is_found(op, change, monkeypatch):
    right = op.gradient
    monkeypatch.setattr(op, "gradient", lambda *arguments: change(right(*arguments)))
    with pytest.raises(Mismatch, match="derivative"):
        for seed in range(1000):
            run_gradient_program(Seeded(seed), default_device(), Counter())


def test_gradients_are_of_many_operations():
    assert len({operation.text for operation in SMOOTH}) >= 40
