"""The kernel `fused`: the bits of the separate kernels one after another, and errors for what is no graph of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from needle.backend_ndarray import Device, NDArray, array, cpu_numpy
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DTYPES, as_dtype, bool_, float16, float32, float64, int8
from needle.backend_ndarray.kernel_table import KERNELS
from needle.errors import DTypeError, ShapeError
from tests.backend_ndarray.kernel_cases import Case, Draw, fused, fused_sum
from tests.devices import devices
from tests.targets import on_every_target

EXAMPLES = int(os.environ.get("NEEDLE_EXAMPLES", 100))
generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
INSTRUCTIONS = tuple(
    name
    for name, kernel in KERNELS.items()
    if kernel.kind in ("copy", "element-wise", "comparison") and name != "fused"
)


def targets() -> Iterator[tuple[str, Device]]:
    yield from on_every_target()
    if cpu_numpy() in devices():
        yield "cpu_numpy()", cpu_numpy()


def one_after_another(device: Device, kernel: str, case: Case) -> list[np.ndarray]:
    """The values of the outputs and of the sum, by the separate kernels, each into an array of its own."""
    inputs, outputs, *total, instructions = case.on(device)[0][: 4 if kernel == "fused_sum" else 3]
    shape = next((a.shape for a in [*outputs, *inputs, *total] if isinstance(a, NDArray) and a.shape), ())
    registers = dict(enumerate(inputs))
    dtypes = {k: operand.dtype for k, operand in enumerate(case.operands[0])}
    for name, out, *read in instructions:
        operands, dtypes[out] = read, dtypes[read[-1]] if name != "copy" else DTYPES[read[1]]
        if name == "copy":
            operands = read[:1]
        elif KERNELS[name].kind == "comparison":
            dtypes[out] = bool_
        registers[out] = device.empty(shape, dtypes[out])
        call(device, name, *(registers[k] for k in operands), registers[out])
    results = [registers[len(inputs) + k] for k in range(len(outputs))]
    if kernel == "fused_sum":
        summed = registers[case.operands[-1]]
        if case.operands[-1] < len(inputs) + len(outputs):  # in the order of that output's memory
            output = outputs[case.operands[-1] - len(inputs)]
            call(device, "copy", summed, output)
            summed = output
        call(device, "sum", summed, total[0])
        results += total
    return [result.numpy() for result in results]


def in_one_call(device: Device, kernel: str, case: Case) -> list[np.ndarray]:
    """The values of the outputs, by `fused` or `fused_sum`, after a look at everything that it must not write to."""
    operands, bases = case.on(device)
    before = [base.numpy().copy() for base in bases]
    call(device, kernel, *operands)
    written, results = case.operands[1], operands[1]
    if kernel == "fused_sum":
        written, results = [*written, case.operands[2]], [*results, operands[2]]
    for operand, old, new in zip(case.arrays(), before, (base.numpy() for base in bases)):
        if any(operand is output for output in written):
            beside = np.ones(old.shape, bool)
            view(beside, operand)[...] = False
            old, new = old[beside], new[beside]
        assert old.tobytes() == new.tobytes(), "written beside an output"
    return [result.numpy() for result in results]


def view(base: np.ndarray, operand) -> np.ndarray:
    strides = tuple(stride * base.itemsize for stride in operand.strides)
    return np.ndarray(operand.shape, base.dtype, base, operand.offset * base.itemsize, strides)


def bits(values: np.ndarray) -> bytes:
    """Of NaN + NaN either may be the result, as of the separate kernels: it depends on the place in a vector register."""
    result = values.copy()
    result[values != values] = 0
    return result.tobytes() + (values != values).tobytes()


def assert_same_bits(device: Device, kernel: str, case: Case, target: str) -> None:
    together, separate = in_one_call(device, kernel, case), one_after_another(device, kernel, case)
    for actual, expected in zip(together, separate, strict=True):
        assert actual.dtype == expected.dtype
        assert bits(actual) == bits(expected), f"{target}: {actual} instead of {expected}"


@pytest.mark.parametrize("dtype", DTYPES)
@generated
@given(data=st.data())
def test_bits_are_those_of_the_kernels_one_after_another(dtype, data):
    draw = Draw(data, st)
    shape = (draw.integer(1000, 3000, "extent"),) if draw.boolean("many chunks") else ()
    case = fused(draw, dtype, INSTRUCTIONS, shape)
    for target, device in targets():
        assert_same_bits(device, "fused", case, target)


@pytest.mark.parametrize("dtype", DTYPES)
@generated
@given(data=st.data())
def test_sums_are_those_of_the_kernels_one_after_another(dtype, data):
    draw = Draw(data, st)
    extents = [(3000,), (5, 700), (700, 5), (150, 130), (9, 4, 90), (2, 70000)]
    shape = data.draw(st.sampled_from(extents), label="shape") if draw.boolean("many chunks") else ()
    case = fused_sum(draw, dtype, INSTRUCTIONS, shape)
    for target, device in targets():
        assert_same_bits(device, "fused_sum", case, target)


# The call: inputs of the given dtypes and numbers, outputs of these dtypes, and the instructions.
def run(device: Device, inputs: list, outputs: list[str], instructions: object, shape: tuple[int, ...] = (7,)) -> list:
    arrays: list[object] = [
        array(np.arange(np.prod(shape)).reshape(shape) % 5, as_dtype(given), device)
        if isinstance(given, str)
        else given
        for given in inputs
    ]
    results = [device.empty(shape, dtype) for dtype in outputs]
    call(device, "fused", arrays, results, instructions)
    return [result.numpy() for result in results]


def test_an_input_keeps_its_values_where_an_output_is_the_same_array(device):
    a = array(np.arange(1000.0), "float32", device)
    b = device.empty((1000,), "float32")
    call(device, "fused", [a], [a, b], (("negate", 1, 0), ("multiply", 3, 1, 1), ("add", 2, 3, 0)))
    np.testing.assert_array_equal(a.numpy(), -np.arange(1000.0))
    np.testing.assert_array_equal(b.numpy(), np.arange(1000.0) ** 2 + np.arange(1000.0))


def test_numbers_beside_halves_mean_what_they_mean_beside_the_separate_kernels(device):
    number = device.kernels.scalar(1.0 + 2.0**-12, float16.code)  # 1 as a float16
    product, chosen, copied = run(
        device, ["float16", number, "bool"], ["float16", "float16", "float32"],
        (("multiply", 3, 0, 1), ("where", 4, 2, 1, 1), ("copy", 5, 1, float32.code)), shape=(900,),
    )  # fmt: skip
    expected = (np.arange(900) % 5).astype(np.float32) * np.float32(1 + 2.0**-12)
    np.testing.assert_array_equal(product, expected.astype(np.float16))
    assert set(chosen.tolist()) == {1.0} and set(copied.tolist()) == {1 + 2.0**-12}


def test_temporaries_are_rounded_to_half_types(device):
    """2048 + 1 is 2048 in float16, so that nothing of the 1 is left."""
    big, one = (device.kernels.scalar(value, float16.code) for value in (2048.0, 1.0))
    (out,) = run(device, [big, one], ["float16"], (("add", 3, 0, 1), ("subtract", 2, 3, 0)), shape=())
    assert out == 0


@pytest.mark.parametrize("exponent", [3.0, 0.5, -2.0, 1.7])
@pytest.mark.parametrize("is_computed", [False, True])
def test_a_power_has_the_bits_of_power_with_that_exponent(device, exponent, is_computed):
    """A number as exponent, or a 0-d array, may make `power` choose another formula."""
    a = array(np.float32(2.3) if is_computed else np.linspace(0.1, 9.0, 700), "float32", device)
    number = device.kernels.scalar(exponent, float32.code)
    read, out, expected = (device.empty(a.shape) for _ in range(3))
    call(device, "power", a, number, expected)
    instructions = (("copy", 3, 1, float32.code), ("power", 2, 0, 3)) if is_computed else (("power", 2, 0, 1),)
    call(device, "fused", [a, number], [out], instructions)
    assert out.numpy().tobytes() == expected.numpy().tobytes()
    call(device, "fused", [a, array(exponent, "float32", device)], [read], (("power", 2, 0, 1),))
    assert read.numpy().tobytes() == expected.numpy().tobytes()


def test_a_result_with_larger_elements_does_not_overwrite_its_operand(device):
    chain = (("negate", 2, 0), ("copy", 3, 2, float64.code), ("copy", 4, 3, int8.code), ("copy", 1, 4, float32.code))
    (out,) = run(device, ["float32"], ["float32"], chain, shape=(1300,))
    np.testing.assert_array_equal(out, -(np.arange(1300.0) % 5))


def test_as_many_instructions_and_arrays_as_there_may_be(device):
    chain = tuple(("add", 16 + i if i < 63 else 15, 15 + i if i else 0, i % 15) for i in range(64))
    (out,) = run(device, ["int64"] * 15, ["int64"], chain, shape=(1300,))
    np.testing.assert_array_equal(out, np.arange(1300) % 5 * 65)


def test_all_temporaries_may_live_at_once(device):
    products = tuple(("multiply", 2 + i, 0, 0) for i in range(32))
    sums = tuple(("add", 34 + i if i < 30 else 1, 33 + i if i else 2, 3 + i) for i in range(31))
    (out,) = run(device, ["float64"], ["float64"], products + sums, shape=(1300,))
    np.testing.assert_array_equal(out, 32.0 * (np.arange(1300) % 5) ** 2)


ADD = (("add", 2, 0, 1),)
TWO = ["float32", "float32"]


@pytest.mark.parametrize(
    "inputs, outputs, instructions, error, met",
    [
        (TWO, ["float32"], list(ADD), TypeError, "list"),
        (TWO, ["float32"], (["add", 2, 0, 1],), TypeError, "list"),
        (TWO, ["float32"], ((),), TypeError, "instruction 0"),
        (TWO, ["float32"], (("add", 2, 0),), TypeError, "3 parts"),
        (TWO, ["float32"], (("copy", 2, 0),), TypeError, "3 parts"),
        (TWO, ["float32"], (("add", 2, 0, "1"),), TypeError, "str"),
        (TWO, ["float32"], (("add", 2, 0, 1.0),), TypeError, "float"),
        (TWO, ["float32"], (("add", 2, 0, 2**70),), OverflowError, "large"),
        (TWO, ["float32"], (("copy", 2, 0, 99),), Exception, "99"),
        (TWO, ["float32"], (("matmul", 2, 0, 1),), ValueError, "matmul"),
        (TWO, ["float32"], (("fused", 2, 0, 1),), ValueError, "fused"),
        (TWO, ["float32"], (("\ud800", 2, 0, 1),), ValueError, "surrogates"),
        (TWO, ["float32"], ((3, 2, 0, 1),), ValueError, "int"),
        (TWO, ["float32"], (("add", 2, 0, -1),), ShapeError, "register -1"),
        (TWO, ["float32"], (("add", 2, 0, 80),), ShapeError, "register 80"),
        (TWO, ["float32"], (("add", 2, 0, 3),), ShapeError, "reads register 3"),
        (TWO, ["float32"], (("add", 2, 0, 2),), ShapeError, "reads register 2"),
        (TWO, ["float32"], (("add", 1, 0, 1), *ADD), ShapeError, "writes register 1"),
        (TWO, ["float32"], (*ADD, *ADD), ShapeError, "writes register 2"),
        (TWO, ["float32"], (), ShapeError, "output 0"),
        (TWO, ["float32"], (("add", 3, 0, 1),), ShapeError, "output 0"),
        (TWO, [], (("add", 2, 0, 1),), ShapeError, "no outputs"),
        (TWO, ["float32"] * 15, ADD, ShapeError, "17 arrays and numbers"),
        (TWO, ["float32"], ADD + tuple(("add", 3, 0, 1) for _ in range(64)), ShapeError, "65 instructions"),
        (TWO, ["float64"], ADD, DTypeError, "float64"),
        (["float32", "int32"], ["float32"], ADD, DTypeError, "add: a is float32 and b is int32"),
        (["bool", "bool"], ["bool"], (("negate", 2, 0),), DTypeError, "negate"),
        (TWO, ["float32"], (("less", 2, 0, 1),), DTypeError, "bool"),
        (TWO, ["float32"], (("where", 2, 0, 0, 1),), DTypeError, "condition"),
        (TWO, ["float32"], (("less", 3, 0, 1), ("exp", 2, 3)), DTypeError, "exp"),
    ],
)
def test_what_is_no_graph_of_kernels_is_refused(device, inputs, outputs, instructions, error, met):
    if device is cpu_numpy():
        pytest.skip("the reference checks nothing")
    with pytest.raises(error, match=met):
        run(device, inputs, outputs, instructions)


def test_arrays_that_do_not_fit_are_refused(device):
    if device is cpu_numpy():
        pytest.skip("the reference checks nothing")
    a, longer, number = device.empty((3,)), device.empty((4,)), device.kernels.scalar(1.0, float32.code)
    with pytest.raises(ShapeError, match="fused: an input has shape"):
        call(device, "fused", [a, longer], [device.empty((3,))], ADD)
    with pytest.raises(ShapeError, match="fused: an output has shape"):
        call(device, "fused", [a, a], [a, longer], (*ADD, ("add", 3, 0, 1)))
    with pytest.raises(ShapeError, match="fused: an output is a number"):
        call(device, "fused", [a, a], [number], ADD)


def test_a_program_reads_live_numbers_in_lists(device):
    """out = a * live + 0.5, with the live number of each run."""
    kernels, code = device.kernels, float32.code
    inputs = [(0, code, (5,), (1,), 0), (0, code), kernels.scalar(0.5, code)]
    step = ("fused", [inputs, [(1, code, (5,), (1,), 0)], (("multiply", 4, 0, 1), ("add", 3, 4, 2))])
    program = kernels.program([step], [(0,), (-1, 20)], [(1, (5,), (1,), 0, float32, device)], [], [1.0])
    a = array(np.arange(5.0), "float32", device)
    for number in (2.0, -3.0):
        (out,) = program.run([a], [number], 1)
        assert isinstance(out, NDArray)
        np.testing.assert_array_equal(out.numpy(), np.arange(5) * number + 0.5)
