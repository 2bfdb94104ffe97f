"""Reductions on the GPU that take several blocks, parts of a result, and packs that do not fit."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

SHAPES = [
    ((70000,), (0,)),  # one result, of many parts
    ((70001,), (0,)),
    ((3, 9000), (1,)),  # parts of rows
    ((1200, 20), (1,)),  # several rows to a warp
    ((9, 1100), (1,)),  # several warps to a row
    ((3000, 12), (0,)),  # columns, of many parts
    ((2500, 3), (0,)),
    ((40, 1000), (0,)),  # several blocks of columns
    ((6, 500, 8), (1,)),
    ((40, 30, 20), (0, 2)),
    ((5, 130, 7, 9), (1, 3)),
]
NUMPY = {"sum": np.sum, "max": np.max, "min": np.min}


def reduce(kernel, array, axes, out_dtype=None):
    out_shape = tuple(1 if axis in axes else extent for axis, extent in enumerate(array.shape))
    out = nd.empty(out_shape, out_dtype or array.dtype, array.device)
    call(array.device, kernel, array, out)
    return out.numpy()


@pytest.mark.parametrize("shape, axes", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int32"])
def test_every_way_to_share_the_work(shape, axes, dtype):
    a = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    there = nd.array(a, dtype, ndl.cuda())
    for kernel in ("max", "min"):
        np.testing.assert_array_equal(reduce(kernel, there, axes), NUMPY[kernel](a, axes, keepdims=True))
    actual = reduce("sum", there, axes)
    if dtype in ("uint8", "int32"):
        return np.testing.assert_array_equal(actual, np.sum(a, axes, dtype=dtype, keepdims=True))
    exact = np.sum(a, axes, dtype=np.longdouble, keepdims=True)
    count = a.size / exact.size
    eps, summed = {"float64": (2.3e-16, 2.3e-16), "float32": (1.2e-7, 1.2e-7), "float16": (1e-3, 1.2e-7)}[dtype]
    np.testing.assert_allclose(actual, exact, rtol=eps, atol=4 * summed * 50 * np.sqrt(count))
    if dtype == "float32":
        squares = reduce("sum_of_squares", there, axes)
        np.testing.assert_allclose(squares, np.sum(a.astype(np.float64) ** 2, axes, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("shape, axes", [case for case in SHAPES if len(case[1]) == 1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8", "int64"])
def test_the_first_of_equals_is_found(shape, axes, dtype):
    a = np.random.default_rng(0).integers(0, 20, shape)
    there = nd.array(a.astype(np.float32), "float32", ndl.cuda()).astype(dtype)
    for kernel, expected in (("argmax", a.argmax(axes[0])), ("argmin", a.argmin(axes[0]))):
        actual = reduce(kernel, there, axes, "int64")
        np.testing.assert_array_equal(actual, np.expand_dims(expected, axes[0]))


def test_nan_is_handed_on_across_parts():
    a = np.random.default_rng(0).normal(size=70000).astype(np.float32)
    a[[65000, 66000]] = np.nan
    there = nd.array(a, "float32", ndl.cuda())
    assert np.isnan(reduce("max", there, (0,))) and np.isnan(reduce("min", there, (0,)))
    assert reduce("argmax", there, (0,), "int64") == reduce("argmin", there, (0,), "int64") == 65000


def test_a_long_sum_is_not_off_by_its_length():
    a = np.full(200000, 0.1, np.float32)
    actual = reduce("sum", nd.array(a, "float32", ndl.cuda()), (0,))
    np.testing.assert_allclose(actual, a.astype(np.float64).sum(keepdims=True), rtol=2e-7)


def test_rows_that_are_not_aligned():
    a = np.random.default_rng(0).integers(0, 1000, (30, 1025)).astype(np.int32)
    there = nd.array(a, "int32", ndl.cuda())
    for view, expected in ((there[:, 1:], a[:, 1:]), (there[:, 4:], a[:, 4:]), (there[::-2, ::-3], a[::-2, ::-3])):
        for axis in (0, 1):
            np.testing.assert_array_equal(reduce("sum", view, (axis,)), expected.sum(axis, keepdims=True))
