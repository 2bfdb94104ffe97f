"""Numbers, NumPy's scalars and NumPy's arrays beside Tensors: needle/backend_ndarray/number.py says the rules."""

from __future__ import annotations

import enum
import operator
import warnings
from decimal import Decimal
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import needle as ndl
from needle import ops
from needle.backend_ndarray import array, elementwise, promote_types
from needle.backend_ndarray.dtype import DTYPES, FLOATING
from needle.errors import DTypeError

COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow)
NUMBERS = (
    0, 1, -1, 2, 2.5, -2.5, 0.1, 1e5, 65504, 65519.0, 65520, 127, 128, 255, 256, 300, -129, 1e39, -1e39, 1e300, 2**31,
    2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2.0**63, 10**400, -(10**400), True, False,
    float("inf"), float("-inf"), float("nan"), -0.0,
)  # fmt: skip


def elements(dtype) -> np.ndarray:
    """Ends of the range, and what lies near the numbers above."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype.kind == "integer":
        low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
        return np.array([low, low + 1, 0, 1, 2, 3, 127, high - 1, high], dtype.numpy)
    high = float(ml_dtypes.finfo(dtype.numpy).max)
    return np.array([0.1, -0.1, 0.0, -0.0, 1, 2.5, 300, high, -high, np.inf, -np.inf, np.nan]).astype(dtype.numpy)


def tensor(values, device) -> ndl.Tensor:
    return ndl.Tensor.make_const(array(values, values.dtype, device))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_comparisons_are_those_of_python(compare, dtype, device):
    """A number counts with its value; among floats, as the nearest of their dtype that is finite if it is."""
    values = elements(dtype)
    x = tensor(values, device)
    python = [float(v) if dtype.kind == "floating" else v.item() for v in values]
    for number in NUMBERS:
        among = number
        if dtype.kind == "floating" and abs(number) <= float(ml_dtypes.finfo(dtype.numpy).max):
            among = float(np.float64(number).astype(dtype.numpy))
        for operand in (x, x.cached_data):
            assert compare(operand, number).numpy().tolist() == [compare(v, among) for v in python], number
            assert compare(number, operand).numpy().tolist() == [compare(among, v) for v in python], number


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("function", ARITHMETIC, ids=lambda f: f.__name__)
def test_a_number_takes_part_in_the_arithmetic_of_the_dtype(function, dtype, device):
    """One rounding to float32 (float64 of float64), the operation, and one rounding to the dtype."""
    computed = np.float64 if dtype == "float64" else np.float32
    values = elements(dtype)
    x = tensor(values, device)
    for number in NUMBERS:
        if abs(number) == 10**400:
            with pytest.raises(DTypeError, match=r": a number of 40\d digits does not fit into"):
                function(x, number)
            continue
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weak = np.float64(number).astype(computed)
            forward = function(values.astype(computed), weak).astype(dtype.numpy).astype(np.float64)
            reflected = function(weak, values.astype(computed)).astype(dtype.numpy).astype(np.float64)
        tolerance = 4 * float(ml_dtypes.finfo(dtype.numpy).eps) if function is operator.pow else 0
        if dtype in ("float16", "bfloat16"):  # which of two neighbours, where float32's own rounding decides
            tolerance = max(tolerance, float(ml_dtypes.finfo(dtype.numpy).eps))
        with np.errstate(all="ignore"):
            for met, expected in ((function(x, number), forward), (function(number, x), reflected)):
                assert met.dtype == dtype
                np.testing.assert_allclose(met.numpy().astype(np.float64), expected, tolerance, 0, err_msg=repr(number))


@pytest.mark.parametrize(
    "line, expected",
    [
        (lambda d: ndl.Tensor([5.0], device=d) - np.uint8(1), [4.0]),
        (lambda d: 2.5 - ndl.Tensor([1, 2], dtype="uint8", device=d), [1.5, 0.5]),
        (lambda d: ndl.Tensor([1, 200], dtype="uint8", device=d) - 100, [157, 100]),
        (lambda d: 1 - ndl.Tensor([True, False], device=d), [0, 1]),
        (lambda d: ndl.Tensor([True, False], device=d) - 1, [0, -1]),
        (lambda d: 41.0 / ndl.Tensor(41.0, device=d), 1.0),
        (lambda d: ndl.Tensor([1e-3], dtype="float16", device=d) * 1e5, [100.0625]),
        (lambda d: ndl.Tensor([0.25], dtype="float16", device=d) * 65536, [16384.0]),
        (lambda d: ndl.Tensor([0.1], dtype="float64", device=d) == np.array([0.1]), [True]),
        (lambda d: np.array([0.1]) == ndl.Tensor([0.1], dtype="float64", device=d), [True]),
        (lambda d: ndl.Tensor([0.1], dtype="float64", device=d) == [0.1], [True]),
        (lambda d: ndl.Tensor([0.1], device=d) == np.array([0.1]), [True]),
        (lambda d: ndl.amp.GradScaler().scale(ndl.Tensor([2.0], dtype="float16", device=d)), [131072.0]),
        (lambda d: ndl.add_relu(ndl.Tensor([-60000.0], dtype="float16", device=d), 1e5), [40000.0]),
        (lambda d: ndl.maximum(2.0, ndl.Tensor([1.0, 3.0], device=d)), [2.0, 3.0]),
        (lambda d: ndl.Tensor([[1.0, 2.0]], device=d) @ np.ones((2, 1)), [[3.0]]),
        (lambda d: np.ones((1, 2), np.float32) @ ndl.Tensor([[1.0], [2.0]], device=d), [[3.0]]),
        (lambda d: ndl.Tensor([2], device=d) ** np.array(2), [4]),
        (lambda d: ndl.Tensor([0.5, 0.25], device=d) == Fraction(1, 2), [True, False]),
        (lambda d: ndl.Tensor([0.5], device=d) + Fraction(1, 4), [0.75]),
        (lambda d: Decimal("0.5") * ndl.Tensor([3.0], device=d), [1.5]),
        (lambda d: ndl.Tensor(np.array([300, -1]), dtype="uint8", device=d), [44, 255]),  # as astype
    ],
)  # fmt: skip
def test_lines_that_were_wrong(line, expected, device):
    assert line(device).numpy().tolist() == expected


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_number_counts_as_pythons(dtype, device):
    x = ndl.Tensor([1, 0], dtype=dtype, device=device)
    kinds = {
        3: [np.int8(3), np.uint8(3), np.int16(3), np.uint64(3), np.array(3), np.array(3, np.uint8), Colour.RED],
        1.5: [
            np.float16(1.5),
            np.float32(1.5),
            np.float64(1.5),
            np.longdouble(1.5),
            ml_dtypes.bfloat16(1.5),
            np.array(1.5),
        ],
        True: [np.True_, np.array(True)],
    }
    for number, others in kinds.items():
        expected = x * number
        for other in others:
            for function in (lambda a, b: a * b, lambda a, b: b * a, lambda a, b: a.cached_data * b):
                met = function(x, other)
                assert met.dtype is expected.dtype and met.numpy().tolist() == expected.numpy().tolist(), repr(other)


def test_dtypes_beside_numbers_and_arrays(device):
    def of(dtype, other):
        return (ndl.Tensor([1], dtype=dtype, device=device) + other).dtype

    assert of("bool", 1) == "int64" and of("bool", 1.0) == "float32" and of("bool", True) == "bool"
    assert of("uint8", 1) == "uint8" and of("uint8", 1.0) == "float32" and of("float16", 1.0) == "float16"
    assert of("float32", np.float64(1)) == "float32" and of("float16", np.float64(1)) == "float16"
    assert of("float32", np.array([1.0])) == "float32" and of("float64", np.array([1.0])) == "float64"
    assert of("float32", [1.0]) == "float32" and of("float64", [1.0]) == "float64" and of("int32", [1.0]) == "float32"
    assert of("int8", np.array([1], np.uint8)) == "int32" and of("float16", np.array([1.0], np.float32)) == "float32"
    condition = ndl.Tensor([True, False], device=device)
    assert ndl.where(condition, 1, 0).dtype == "int64" and ndl.where(condition, 1, 0.5).dtype == "float32"
    assert elementwise.where(condition.cached_data, True, False).dtype == "bool"


@pytest.mark.parametrize(
    "line, message",
    [
        (lambda x: x + 300, "add: 300 does not fit into uint8: expected 0 to 255"),
        (lambda x: ndl.maximum(x, -1), "maximum: -1 does not fit into uint8"),
        (lambda x: ndl.where(x > 0, x, 2**70), "where: .* does not fit into uint8"),
        (lambda x: x**-1, "power: an integer to the power of -1"),
        (lambda x: x.astype("int32") ** ndl.Tensor([1, -2], device=x.device), "power: an integer to the power of -2"),
        (lambda x: 2 ** ndl.Tensor([-1], device=x.device), "power: an integer to the power of -1"),
        (lambda x: x + 1j, "add: an operand of type complex"),
        (lambda x: x * np.complex64(1), "multiply: an operand of type complex64"),
        (lambda x: x + "text", "add: an operand of type str"),
        (lambda x: x + np.array([1, 2], np.int16), "add: dtype int16 is not one of Needle's"),
        (lambda x: x / None, "divide: an operand of type NoneType"),
        (lambda x: ndl.Tensor([300, -1], dtype="uint8", device=x.device), "Tensor: -1 does not fit into uint8"),
        (lambda x: ndl.Tensor([[2**40]], dtype="int32", device=x.device), "Tensor: .* does not fit into int32"),
        (lambda x: array(np.int64(300), "int8", x.device), "array: 300 does not fit into int8"),
    ],
)
def test_errors_name_the_operation_and_what_was_met(line, message, device):
    with pytest.raises(DTypeError, match=message):
        line(ndl.Tensor([1, 2], dtype="uint8", device=device))


def test_what_is_nothing_to_compare_with_is_not_equal(device):
    x = ndl.Tensor([1.0, 2.0], device=device)
    for operand in (x, x.cached_data):
        for other in (None, "text", {}, object(), 1j, b"x", ...):
            assert (operand == other) is False and (operand != other) is True and (other == operand) is False
        assert None not in [operand] and operand in [operand] and 2.0 in operand and 3.0 not in operand
        with pytest.raises(TypeError):
            operand < None  # noqa: B015
        with pytest.raises(TypeError, match="len"):
            len(operand[0])
        with pytest.raises(TypeError):
            list(operand[0])


def test_numpys_functions_are_ours(device):
    x = ndl.Tensor([0.5, 1.0], device=device)
    for function in (np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh, np.absolute, np.negative, np.sign):
        ours = function(x)
        assert isinstance(ours, ndl.Tensor) and ours.device is device
        np.testing.assert_allclose(ours.numpy(), function(x.numpy()), 1e-6)
    for function in (np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum, np.less_equal):
        for ours in (function(x, x.numpy()), function(x.numpy(), x), function(x, x)):
            assert isinstance(ours, ndl.Tensor)
            np.testing.assert_array_equal(ours.numpy(), function(x.numpy(), x.numpy()))
    np.exp(x).backward(ops.ones_like(x))
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.5, 1.0]), 1e-6)
    assert np.all(x > 0) and np.isfinite(x).tolist() == [True, True]
    for call in (lambda: np.log1p(x), lambda: np.add.reduce(x), lambda: np.exp(x, out=np.zeros(2, np.float32))):
        with pytest.raises(TypeError, match="lose the gradient"):
            call()
    assert type(np.log1p(x.cached_data)) is np.ndarray  # which has no gradient to lose


def test_numpys_functions_that_write_into_their_operands(device):
    for x in (ndl.Tensor([0.0, 0.0], device=device, requires_grad=False), array([0.0, 0.0], device=device)):
        for call in (lambda x: np.add.at(x, [0, 0], 1), lambda x: np.add(x, 1, out=x), lambda x: np.exp(x, out=x)):
            with pytest.raises(TypeError, match="expected a NumPy array"):
                call(x)
        with pytest.raises(TypeError, match="numpy.add: into"):
            np.add(np.ones(2), 1, out=x)
        out = np.zeros(2)
        np.add(x, 1.5, out=out)
        np.add.at(out, [0, 0], x)
        assert out.tolist() == [1.5, 1.5]


def test_numpys_other_functions_lose_no_gradient(device):
    x = ndl.Tensor([1.0, 2.0], device=device)
    lost = [
        lambda x: np.dot(x, x), lambda x: np.concatenate([x, x]), lambda x: np.where([True, False], x, 0),
        lambda x: np.clip(x, 0, 1), lambda x: np.stack([x, x]), lambda x: np.outer(x, x), lambda x: np.linalg.norm(x),
        lambda x: np.reshape(x, (2, 1)), lambda x: np.sum(x), lambda x: np.mean(x, axis=0), lambda x: np.max(x),
        lambda x: np.einsum("i,i", x, x),
    ]  # fmt: skip
    for call in lost:
        with pytest.raises(TypeError, match="lose the gradient"):
            call(x)
        expected = call(x.numpy())
        for constant in (x.detach(), x.cached_data):
            np.testing.assert_array_equal(call(constant), expected)
    assert np.allclose(x, [1.0, 2.0]) and np.argmax(x) == 1 and np.shape(x) == (2,) and np.ndim(x) == 1
    assert np.zeros_like(x).tolist() == [0.0, 0.0] and np.isclose(x, 1).tolist() == [True, False]


def test_nested_lists_of_tensors_are_refused(device):
    x = ndl.Tensor([1.0, 2.0], device=device)
    for other in ([x, x], [[x, x]], ((1.0, [x]),)):
        with pytest.raises(TypeError, match="add: a (list|tuple) of Tensors"):
            x + other


def test_no_gradient_goes_through_integers_and_bools(device):
    x = ndl.Tensor([2.5, -1.5], device=device)
    (x.astype("int32") * x).sum().backward()
    assert x.grad.numpy().tolist() == [2.0, -1.0]
    for dtype in ("int8", "uint8", "int32", "int64", "bool"):
        assert not x.astype(dtype).requires_grad and not x.astype(dtype).astype("float32").requires_grad


def test_operators_in_place_keep_the_dtype(device):
    with ndl.no_grad():
        whole, flags = ndl.Tensor([1, 2], device=device), ndl.Tensor([True], device=device)
        for line in (
            lambda: operator.iadd(whole, 1.7),
            lambda: operator.itruediv(whole, 4),
            lambda: operator.iadd(flags, 1),
        ):
            with pytest.raises(DTypeError, match="a result of dtype .*: expected (int64|bool), see astype"):
                line()
        whole += 1
        matrix = ndl.Parameter(np.eye(2), device=device)
        matrix @= ndl.Tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert whole.numpy().tolist() == [2, 3]
    assert type(matrix) is ndl.Parameter and matrix.numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_formats(device):
    assert (
        f"{ndl.Tensor(1.5, device=device):.2f} {ndl.Tensor(3, device=device):04d} {ndl.Tensor([1.0], device=device)}"
        == ("1.50 0003 [1.]")
    )


def test_bytes_in_the_other_order(device):
    x = ndl.Tensor(np.array([1.5, 2.0], ">f8"), device=device)
    assert x.dtype == "float32" and x.numpy().tolist() == [1.5, 2.0]
    assert ndl.Tensor(np.array([1, 2], ">i4"), device=device).dtype == "int32"
    assert (ndl.Tensor([1.0], device=device) + np.array([1.0], ">f8")).dtype == "float32"


def test_array_protocols(device):
    x = ndl.Tensor([[1.0, 2.0]], device=device)
    assert np.asarray(x, "float64").dtype == np.float64
    with pytest.raises(ValueError, match="copy=False"):
        np.array(x, copy=False, dtype="f8")
    if device.is_host:
        assert np.shares_memory(np.array(x, copy=False), x.cached_data.host_view())
        with pytest.raises(BufferError, match="strides"):
            x.cached_data.flip(1).__dlpack__()
        np.testing.assert_array_equal(np.from_dlpack(x.cached_data.flip(1).copy()), [[2.0, 1.0]])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.data())
def test_zero_dimensional_tensors_are_no_numbers(a, b, data):
    """They have a dtype, which promotes."""
    x, y = ndl.Tensor([1, 1], dtype=a), ndl.Tensor(1, dtype=b)
    assert (x * y).dtype is (y * x).dtype is promote_types(a, b)
