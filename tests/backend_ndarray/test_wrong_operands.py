"""Calls of every kernel with operands that do not fit: refused with the kernel's name, and nothing is written.

No kernel checks dtypes and shapes itself (kernels/common/checks.h does), so one that a check lets through by mistake
would read or write beside its arrays.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import cpu_numpy
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DTYPES
from needle.errors import DTypeError, ShapeError
from tests.backend_ndarray.kernel_cases import CASES, Case, Draw, Operand
from tests.devices import devices

NUMBERS = {
    int: [-1, 0, 1, 2, 7, 2**31, 2**31 + 1, 2**63 - 1, -(2**63)],
    float: [-1.0, 0.0, 0.5, 2.0, math.nan, math.inf],
}


def changed(draw: Draw, operand: Operand) -> Operand:
    """The operand with another dtype, with an axis more or less, or with another extent along an axis."""
    shape = list(operand.shape)
    kind = draw.integer(0, 3, "change")
    if kind == 0:
        dtype = draw.data.draw(st.sampled_from(DTYPES), label="dtype")
        values = draw.numbers(operand.shape, dtype)
    else:
        axis = draw.integer(0, max(0, len(shape) - 1), "axis")
        if kind == 1 and shape:
            del shape[axis]
        elif kind == 2 and shape:
            shape[axis] = max(0, shape[axis] + draw.data.draw(st.sampled_from([-1, 1, 2, -99]), label="more"))
        else:
            shape.insert(axis, draw.integer(1, 2, "extent"))
        dtype, values = operand.dtype, draw.numbers(tuple(shape), operand.dtype)
    if operand.written:
        return draw.layout(tuple(shape), dtype)
    return draw.layout(tuple(shape), dtype, values)


def spoiled(draw: Draw, case: Case) -> Case:
    """The case with one operand or number that is another."""
    operands = list(case.operands)
    place = draw.integer(0, len(operands) - 1, "operand")
    old = operands[place]
    if isinstance(old, Operand):
        operands[place] = changed(draw, old)
    elif isinstance(old, list):
        items = list(old)
        arrays = [place for place, item in enumerate(items) if isinstance(item, Operand)]
        if arrays and draw.boolean("an array"):
            items[draw.integer(0, len(items) - 1, "array")] = changed(draw, items[arrays[0]])
        elif items:
            del items[0]
        operands[place] = items
    elif type(old) in NUMBERS:
        operands[place] = draw.data.draw(st.sampled_from(NUMBERS[type(old)]), label="number")
    return replace(case, operands=operands)


@pytest.mark.parametrize("device", [device for device in devices() if device is not cpu_numpy()], ids=repr)
@pytest.mark.parametrize("kernel", CASES)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(data=st.data())
def test_what_does_not_fit_is_refused(kernel, device, data):
    draw = Draw(data, st)
    dtypes, make = CASES[kernel]
    case = spoiled(draw, make(draw, draw.data.draw(st.sampled_from(list(dtypes)), label="dtype of the case")))
    operands, bases = case.on(device)
    before = [base.numpy().tobytes() for base in bases]
    try:
        call(device, kernel, *operands)
    except (DTypeError, ShapeError) as error:
        assert str(error).startswith(f"{kernel}: ")
        assert [base.numpy().tobytes() for base in bases] == before
    else:
        case.run(kernel, cpu_numpy())  # what is accepted has a meaning
