"""What kernels give for NaN, infinities, zeros of both signs and the ends of integers' ranges: exact, on every backend,
instruction level and provider. Where PyTorch and NumPy agree it is theirs.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from needle.backend_ndarray import Device, array, ndarray
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import FLOATING, as_dtype, bool_, float32, int64
from tests.targets import on_every_target

nan, inf = np.nan, np.inf
ARGUMENTS = (nan, inf, -inf, 0.0, -0.0)
VALUES = {
    "negate": (nan, -inf, inf, -0.0, 0.0),
    "abs": (nan, inf, inf, 0.0, 0.0),
    "sign": (nan, 1.0, -1.0, 0.0, 0.0),
    "relu": (nan, inf, 0.0, 0.0, -0.0),
    "floor": (nan, inf, -inf, 0.0, -0.0),
    "ceil": (nan, inf, -inf, 0.0, -0.0),
    "exp": (nan, inf, 0.0, 1.0, 1.0),
    "log": (nan, inf, nan, -inf, -inf),
    "sqrt": (nan, inf, nan, 0.0, -0.0),
    "sin": (nan, nan, nan, 0.0, -0.0),
    "cos": (nan, nan, nan, 1.0, 1.0),
    "tanh": (nan, 1.0, -1.0, 0.0, -0.0),
    "sigmoid": (nan, 1.0, 0.0, 0.5, 0.5),
    "erf": (nan, 1.0, -1.0, 0.0, -0.0),
    "gelu": (nan, inf, -0.0, 0.0, -0.0),
}
GRADIENTS = {  # of 1, at ARGUMENTS, but for the signs of zeros
    "relu_backward": (1.0, 1.0, 0.0, 0.0, 0.0),
    "gelu_backward": (nan, 1.0, 0.0, 0.5, 0.5),
    "sigmoid_backward": (nan, -inf, -inf, 0.0, 0.0),
    "tanh_backward": (nan, -inf, -inf, 1.0, 1.0),
}
NUMPY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
# The largest logit and what there is beside it: softmax, log_softmax, logsumexp, loss and gradient for label 0
ROWS = {
    (1.0, inf, 2.0): ((nan,) * 3, (nan,) * 3, inf, nan, (nan,) * 3),
    (inf, inf, -inf): ((nan,) * 3, (nan,) * 3, inf, nan, (nan,) * 3),
    (-inf, -inf, -inf): ((nan,) * 3, (nan,) * 3, -inf, nan, (nan,) * 3),
    (nan, 1.0, inf): ((nan,) * 3, (nan,) * 3, nan, nan, (nan,) * 3),
    (-inf, -inf, 5.0): ((0.0, 0.0, 1.0), (-inf, -inf, 0.0), 5.0, inf, (-1.0, 0.0, 1.0)),
    (5.0, -inf, -inf): ((1.0, 0.0, 0.0), (0.0, -inf, -inf), 5.0, 0.0, (0.0, 0.0, 0.0)),
}


def assert_same(met: np.ndarray, expected: np.ndarray, what: str, signs: bool = True) -> None:
    """Numbers and, of zeros, signs."""
    met, expected = met.astype(np.float64), np.asarray(expected, np.float64)
    np.testing.assert_array_equal(met, expected, what)
    if signs:
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(met[known]), np.signbit(expected[known]), f"{what}: signs")


def run(device: Device, kernel: str, *inputs: np.ndarray, dtype, out_dtype=None, shape=None) -> np.ndarray:
    out = ndarray.empty(inputs[0].shape if shape is None else shape, out_dtype or dtype, device)
    call(device, kernel, *(x if isinstance(x, ndarray.NDArray) else array(x, dtype, device) for x in inputs), out)
    return out.numpy()


@pytest.mark.parametrize("dtype", FLOATING)
def test_one_operand(dtype):
    arguments = np.array(ARGUMENTS)
    for target, device in on_every_target():
        for kernel, expected in VALUES.items():
            # together, in longer rows, and each alone: a chunk with an infinity may take another way
            for repeats in (1, 100):
                met = run(device, kernel, np.repeat(arguments, repeats), dtype=dtype)
                assert_same(met, np.repeat(expected, repeats), f"{target}: {kernel}")
            for argument, value in zip(arguments, expected):
                met = run(device, kernel, np.full(40, argument), dtype=dtype)
                assert_same(met, np.full(40, value), f"{target}: {kernel} of {argument}")


@pytest.mark.parametrize("dtype", FLOATING)
def test_gradients(dtype):
    for target, device in on_every_target():
        for kernel, expected in GRADIENTS.items():
            met = run(device, kernel, np.ones(5), np.array(ARGUMENTS), dtype=dtype)
            assert_same(met, np.array(expected), f"{target}: {kernel}", signs=False)


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("kernel", NUMPY)
def test_two_operands_are_numpys(kernel, dtype):
    values = [nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 7.0, -7.0, 1e-7, 6e4, -6e4]
    a, b = np.array(list(itertools.product(values, values))).T
    wide = np.float64 if dtype == "float64" else np.float32
    left, right = a.astype(dtype.numpy).astype(wide), b.astype(dtype.numpy).astype(wide)
    with np.errstate(all="ignore"):
        expected = NUMPY[kernel](left, right)
        expected = expected if expected.dtype == bool else expected.astype(dtype.numpy)
        # powers whose last digits cannot differ
        known = np.isin(np.abs(left), (0, 1, inf)) | np.isin(np.abs(right), (0, inf)) | np.isnan(left + right)
    out_dtype = bool_ if expected.dtype == bool else dtype
    for target, device in on_every_target():
        met = run(device, kernel, a, b, dtype=dtype, out_dtype=out_dtype)
        if kernel == "power":
            assert_same(met[known], expected[known], f"{target}: {kernel}")
        else:
            assert_same(met, expected, f"{target}: {kernel}", signs=kernel not in ("maximum", "minimum"))


@pytest.mark.parametrize("dtype", FLOATING)
def test_softmax_family(dtype):
    rows = np.array(list(ROWS))
    softmax, log_softmax, logsumexp, loss, grad = (np.array(x) for x in zip(*ROWS.values()))
    for target, device in on_every_target():
        labels = array(np.zeros(len(rows)), int64, device)
        ones = array(np.ones(len(rows)), dtype, device)
        logits = array(rows, dtype, device)
        for kernel, operands, expected in (
            ("softmax", (), softmax),
            ("log_softmax", (), log_softmax),
            ("logsumexp", (), logsumexp),
            ("softmax_cross_entropy", (labels,), loss),
            ("softmax_cross_entropy_backward", (labels, ones), grad),
        ):
            met = run(device, kernel, logits, *operands, dtype=dtype, shape=expected.shape)
            assert_same(met, expected, f"{target}: {kernel}", signs=False)


def exact_power(a: int, b: int) -> int:
    """A fraction is cut off; 0 to a negative power is 0."""
    return a**b if b >= 0 else {1: 1, -1: 1 if b % 2 == 0 else -1}.get(a, 0)


EXACT = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "floor_divide": lambda a, b: a // b if b else 0,
    "remainder": lambda a, b: a % b if b else 0,
    "power": exact_power,
}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_wrap_around(dtype):
    dtype = as_dtype(dtype)
    limits = np.iinfo(dtype.numpy)
    low, span = int(limits.min), int(limits.max) - int(limits.min) + 1
    ends = [low, low + 1, limits.max - 1, limits.max, limits.max // 2, 0, 1, 2, 3, 7]
    values = sorted({int(x) for x in ends} | ({-1, -2, -3, -7} if low else set()))
    if dtype.itemsize == 1:
        values = list(range(low, low + span, 3)) + values

    def wrapped(x: int) -> int:
        return (x - low) % span + low

    pairs = list(itertools.product(values, values))
    a, b = (np.array(x, dtype.numpy) for x in zip(*pairs))
    for target, device in on_every_target():
        for kernel, exact in EXACT.items():
            if kernel == "power" and dtype.itemsize > 1:  # Python's would have billions of digits
                expected = [pow(x, y, span) if y >= 0 else exact_power(x, y) for x, y in pairs]
            else:
                expected = [exact(x, y) for x, y in pairs]
            expected = np.array([wrapped(x) for x in expected], dtype.numpy)
            np.testing.assert_array_equal(run(device, kernel, a, b, dtype=dtype), expected, f"{target}: {kernel}")
        for kernel, exact in {"negate": lambda x: -x, "abs": abs, "sign": lambda x: (x > 0) - (x < 0)}.items():
            expected = np.array([wrapped(exact(x)) for x in values], dtype.numpy)
            met = run(device, kernel, np.array(values, dtype.numpy), dtype=dtype)
            np.testing.assert_array_equal(met, expected, f"{target}: {kernel}")


def test_relu_passes_gradients_at_nan_wherever_it_is_part_of_another_kernel():
    for target, device in on_every_target():
        # h[1] = relu(NaN), relu(-1), relu(2)
        hidden = np.zeros((2, 1, 3))
        hidden[1, 0] = nan, 0, 2
        grad_gates, grad_h0 = ndarray.empty((1, 1, 3), float32, device), ndarray.empty((1, 3), float32, device)
        grad_hidden, states = array(np.ones((1, 1, 3)), float32, device), array(hidden, float32, device)
        W_hh = array(np.zeros((3, 3)), float32, device)
        call(device, "rnn_backward", grad_hidden, states, W_hh, grad_gates, grad_h0, True)
        assert grad_gates.numpy().ravel().tolist() == [1, 0, 1], target
        # Two channels, the first of which has NaN as its mean: all rows of it pass, those above 0 of the other.
        x = array(np.array([[nan, 1.0], [1.0, -1.0], [2.0, 3.0]]), float32, device)
        vectors = [array(np.array(v), float32, device) for v in ([1.0, 1.0], [0.0, 0.0], [nan, 0.0], [nan, 1.0])]
        grads = [ndarray.empty(shape, float32, device) for shape in ((3, 2), (2,), (2,))]
        call(device, "batch_norm_backward", array(np.ones((3, 2)), float32, device), x, *vectors, *grads, 0.0, True)
        assert grads[2].numpy().tolist() == [3, 2], target
