"""Batch and layer normalization on the GPU over more rows and channels than a block takes."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

EPS = 1e-5
BATCH_SHAPES = [(1, 40), (3000, 3), (2500, 8), (700, 64), (40, 1030), (33, 516)]
LAYER_SHAPES = [(300, 1), (70, 5), (40, 64), (9, 1000), (5, 1028), (2, 8196), (2, 16388), (1, 20001)]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 4e-3}


def on_cuda(a):
    return nd.array(a, str(a.dtype), ndl.cuda())


def run(kernel, inputs, outputs, *numbers):
    """The outputs, given as (shape, dtype); an input may be a list."""
    written = [nd.empty(shape, dtype, ndl.cuda()) for shape, dtype in outputs]
    operands = [list(map(on_cuda, a)) if isinstance(a, list) else on_cuda(a) for a in inputs]
    call(ndl.cuda(), kernel, *operands, *written, *numbers)
    return [out.numpy().astype(np.float64) for out in written]


def draw(shape, dtype):
    generator = np.random.default_rng(0)
    x = (generator.normal(size=shape) * 2 + 1).astype(dtype)
    return x, generator.normal(size=shape).astype(dtype), *generator.normal(size=(2, shape[-1])).astype(dtype)


def statistics(x, axis):
    wide = x.astype(np.float64)
    return wide.mean(axis, keepdims=True), wide.var(axis, keepdims=True)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm(shape, dtype, relu):
    x, grad, weight, bias = draw(shape, dtype)
    mean, variance = statistics(x, 0)
    x_hat = (x - mean) / np.sqrt(variance + EPS)
    normalized = x_hat * weight + bias
    vector, stored = shape[1:], "float32" if dtype == "float16" else dtype
    close = dict(rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * (1000 if shape[0] == 1 else 1))
    out, met_mean, met_variance = run(
        "batch_norm", [x, weight, bias, []], [(shape, dtype), (vector, stored), (vector, stored)], EPS, 0.1, relu
    )
    np.testing.assert_allclose(out, np.maximum(normalized, 0) if relu else normalized, **close)
    np.testing.assert_allclose(met_mean, mean[0], 1e-6, 1e-6)
    np.testing.assert_allclose(met_variance, variance[0], 1e-6)
    given = [mean[0].astype(stored), variance[0].astype(stored)]
    (again,) = run("batch_norm_inference", [x, weight, bias, *given], [(shape, dtype)], EPS, relu)
    np.testing.assert_allclose(again, np.maximum(normalized, 0) if relu else normalized, **close)

    if shape[0] == 1:
        return  # its gradient is rounding, magnified
    g = np.where(normalized > 0, grad, 0).astype(np.float64) if relu else grad.astype(np.float64)
    outputs = [(shape, dtype), (vector, dtype), (vector, dtype)]
    grad_x, grad_weight, grad_bias = run("batch_norm_backward", [grad, x, weight, bias, *given], outputs, EPS, relu)
    expected = weight / np.sqrt(variance + EPS) * (g - g.mean(0) - x_hat * (g * x_hat).mean(0))
    np.testing.assert_allclose(grad_x, expected, **close)
    close["atol"] *= np.sqrt(shape[0])
    np.testing.assert_allclose(grad_weight, (g * x_hat).sum(0), **close)
    np.testing.assert_allclose(grad_bias, g.sum(0), **close)


def test_batch_norm_with_a_mean_far_from_zero():
    x = (np.random.default_rng(0).normal(size=(4000, 4)) + [0, 1e3, 1e4, 3e4]).astype(np.float32)
    ones = np.ones(4, np.float32)
    outputs = [(x.shape, "float32"), ((4,), "float32"), ((4,), "float32")]
    out, mean, variance = run("batch_norm", [x, ones, 0 * ones, []], outputs, EPS, 0.1, False)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(variance, exact.var(0), 1e-5)
    np.testing.assert_allclose(out, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + EPS), atol=1e-5)


@pytest.mark.parametrize("shape", BATCH_SHAPES, ids=str)
@pytest.mark.parametrize("dtype, stored", [("float32", "float32"), ("float16", "float32"), ("float16", "float16")])
def test_running_statistics(shape, dtype, stored):
    """To the bit: the statistic in running's dtype, then one multiply-add in float32, rounded once."""
    x, _, weight, bias = draw(shape, dtype)
    before = np.abs(np.random.default_rng(1).normal(size=(2, shape[1]))).astype(stored)
    running = [on_cuda(a) for a in before]
    mean, variance, out = (nd.empty(s, d, ndl.cuda()) for s, d in [(shape[1:], "float32")] * 2 + [(shape, dtype)])
    operands = [*map(on_cuda, (x, weight, bias)), running, out, mean, variance]
    call(ndl.cuda(), "batch_norm", *operands, EPS, 0.25, False)
    for old, new, statistic in zip(before, running, (mean, variance)):
        a, b = old.astype(np.float32), statistic.numpy().astype(stored).astype(np.float32)
        # float64 holds a quarter of the difference exactly, as the GPU's fused multiply-add does
        expected = (a + 0.25 * (b - a).astype(np.float64)).astype(np.float32).astype(stored)
        np.testing.assert_array_equal(new.numpy(), expected)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", LAYER_SHAPES, ids=str)
def test_layer_norm(shape, dtype):
    x, grad, weight, bias = draw(shape, dtype)
    mean, variance = statistics(x, 1)
    x_hat = (x - mean) / np.sqrt(variance + EPS)
    leading, vector, stored = shape[:1], shape[1:], "float32" if dtype == "float16" else dtype
    close = dict(rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    out, met_mean, met_variance = run(
        "layer_norm", [x, weight, bias], [(shape, dtype), (leading, stored), (leading, stored)], EPS
    )
    np.testing.assert_allclose(out, x_hat * weight + bias, **close)
    np.testing.assert_allclose(met_mean, mean[:, 0], 1e-6, 1e-6)
    np.testing.assert_allclose(met_variance, variance[:, 0], 2e-6)

    given = [mean[:, 0].astype(stored), variance[:, 0].astype(stored)]
    outputs = [(shape, dtype), (vector, dtype), (vector, dtype)]
    grad_x, grad_weight, grad_bias = run("layer_norm_backward", [grad, x, weight, *given], outputs, EPS)
    g = grad.astype(np.float64) * weight
    scale = 1 / np.sqrt(variance + EPS)
    expected = scale * (g - g.mean(1, keepdims=True) - x_hat * (g * x_hat).mean(1, keepdims=True))
    np.testing.assert_allclose(grad_x, expected, **{**close, "atol": close["atol"] * scale.max()})
    close["atol"] *= np.sqrt(shape[0]) * 4
    np.testing.assert_allclose(grad_weight, (grad * x_hat).sum(0), **close)
    np.testing.assert_allclose(grad_bias, grad.astype(np.float64).sum(0), **close)


def test_layer_norm_backward_of_no_rows():
    none, vector = np.zeros((0, 40), np.float32), np.ones(40, np.float32)
    outputs = [((0, 40), "float32"), ((40,), "float32"), ((40,), "float32")]
    _, *sums = run("layer_norm_backward", [none, none, vector, none[:, 0], none[:, 0]], outputs, EPS)
    assert not np.any(sums)
