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
from tests.programs.table import OPERATIONS, SMOOTH
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


def again(error: Exception):
    raise error


def unnamed(error: Exception):
    raise ValueError("no")


def overwrite(array: NDArray) -> None:
    array[...] = 1


# Of which operation, what becomes of its results, and of its errors.
FAULTS = {
    "a value": ("{0} * {1}", lambda out, a, b: out + (out == 6), again),
    "a sign of zero": ("-{0}", lambda out, a: out + 0.0 if out.dtype.kind == "floating" else out, again),
    "a rounding": ("{0} / {1}", lambda out, a, b: (out.astype("float32") * 3 / 3).astype(out.dtype), again),
    "NaN": ("{0}.max({1})", lambda out, a, axes: ops.where(out != out, 0, out), again),
    "a dtype": ("{0} + {1}", lambda out, a, b: out.astype("float64") if out.dtype == "float32" else out, again),
    "a shape": ("{0}.sum({1})", lambda out, a, axes: out.reshape(-1), again),
    "a copy": ("{0}.transpose({1})", lambda out, a, axes: out + out * 0, again),
    "no error": ("{0} @ {1}", lambda out, a, b: out, lambda error: Tensor(0.0)),
    "an error without a name": ("{0}.reshape({1})", lambda out, a, shape: out, unnamed),
    "an array that changed": ("{0}.argmax({1})", lambda out, a, axis: overwrite(a.cached_data) or out, again),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    text, change, on_error = FAULTS[fault]
    operation = next(operation for operation in OPERATIONS[TENSOR] if operation.text == text)
    right = operation.needle

    def wrong(*arguments):
        try:
            return change(right(*arguments), *arguments)
        except Exception as error:
            return on_error(error)

    object.__setattr__(operation, "needle", wrong)
    try:
        with pytest.raises(Mismatch) as found:
            for seed in range(4000):
                run_program(Seeded(seed), TENSOR, default_device(), DTYPES[seed % len(DTYPES)])
    finally:
        object.__setattr__(operation, "needle", right)
    if fault != "an array that changed":  # which shows wherever that array is looked at next
        assert found.value.operation == text


@pytest.mark.parametrize("op, change", [
    (ops.EWiseMul, lambda grads: (grads[0], None)),
    (ops.MatMul, lambda grads: tuple(grad if grad is None else grad * 1.0001 for grad in grads)),
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
