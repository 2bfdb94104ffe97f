"""Softmax and cross-entropy on the GPU, of rows of every length: of a few threads, of warps, of blocks and longer."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call
from needle.errors import ShapeError

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

LENGTHS = [1, 5, 32, 100, 512, 513, 1000, 2048, 4097, 8200, 16384, 16385, 33000]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3}


def softmax_of(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def logsumexp_of(x):
    return np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1)) + x.max(-1)


def run(kernel, out_shape, dtype, *arrays):
    out = nd.empty(out_shape, dtype, ndl.cuda())
    call(ndl.cuda(), kernel, *[nd.array(a, str(a.dtype), ndl.cuda()) for a in arrays], out)
    return out.numpy()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_rows_of_any_length(length, dtype):
    rows = 11 if length < 5000 else 2
    generator = np.random.default_rng(length)
    x = (generator.normal(size=(rows, length)) * 4 - 50).astype(dtype)
    labels = generator.integers(0, length, rows)
    grad = generator.normal(size=rows).astype(dtype)
    wide, tolerance = x.astype(np.float64), TOLERANCE[dtype]
    probabilities, totals = softmax_of(wide), logsumexp_of(wide)
    np.testing.assert_allclose(run("softmax", x.shape, dtype, x), probabilities, tolerance, 1e-7)
    np.testing.assert_allclose(run("log_softmax", x.shape, dtype, x), np.log(probabilities), tolerance, 50 * tolerance)
    np.testing.assert_allclose(run("logsumexp", (rows,), dtype, x), totals, tolerance)
    loss = run("softmax_cross_entropy", (rows,), dtype, x, labels)
    np.testing.assert_allclose(loss, totals - wide[np.arange(rows), labels], tolerance, 50 * tolerance)
    expected = (probabilities - (np.arange(length) == labels[:, None])) * grad[:, None]
    actual = run("softmax_cross_entropy_backward", x.shape, dtype, x, labels, grad)
    np.testing.assert_allclose(actual, expected, tolerance, 4 * tolerance)


@pytest.mark.parametrize("length", [5, 1000, 33000])
def test_rows_with_infinities(length):
    x = np.full((4, length), -1000, np.float32)
    x[0], x[1, 3], x[2, :3], x[3, 4] = -np.inf, np.inf, -np.inf, np.nan
    totals = run("logsumexp", (4,), "float32", x)
    np.testing.assert_allclose(totals, [-np.inf, np.inf, np.log(length - 3) - 1000, np.nan], 1e-6)
    probabilities = run("softmax", x.shape, "float32", x)
    assert np.isnan(probabilities[[0, 1, 3]]).all()
    np.testing.assert_allclose(probabilities[2], (x[2] == -1000) / (length - 3), 1e-6)


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_wrong_label_is_found(label):
    x, labels = np.zeros((300, 10), np.float32), np.zeros(300, np.int64)
    labels[257] = label
    message = f"label {label} at position 257, expected 0 to 9"
    with pytest.raises(ShapeError, match=f"softmax_cross_entropy: {message}"):
        run("softmax_cross_entropy", (300,), "float32", x, labels)
    with pytest.raises(ShapeError, match=f"softmax_cross_entropy_backward: {message}"):
        run("softmax_cross_entropy_backward", x.shape, "float32", x, labels, np.ones(300, np.float32))
