"""Products on the GPU that take more than one tile, in each layout of the operands, and sums cut into slices."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.matmul import matmul

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)


def put(values: np.ndarray, transposed: bool, dtype: str = "float32"):
    there = nd.array((values.T if transposed else values).copy(), dtype, ndl.cuda())
    return there.permute(1, 0) if transposed else there


def check(m: int, k: int, n: int, layout: tuple[bool, bool], dtype: str = "float32"):
    a, b = np.random.randn(m, k).astype(dtype), np.random.randn(k, n).astype(dtype)
    product = matmul(put(a, layout[0], dtype), put(b, layout[1], dtype)).numpy()
    expected = a.astype(np.float64) @ b.astype(np.float64)
    tolerance = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3}[dtype]
    np.testing.assert_allclose(product, expected, rtol=tolerance, atol=tolerance * np.sqrt(max(k, 1)))


@pytest.mark.parametrize("layout", [(a, b) for a in (False, True) for b in (False, True)], ids=str)
@pytest.mark.parametrize("shape", [(132, 20, 196), (129, 33, 131)], ids=str)
def test_tiles(shape, layout):
    check(*shape, layout)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_slices(dtype):
    check(20, 1100, 68, (False, False), dtype)


@pytest.mark.parametrize("layout", [(False, False), (True, True)], ids=str)
@pytest.mark.parametrize("m, k, n", [(130, 9, 20), (132, 20, 20)], ids=["one by one", "by packs"])
def test_large_tiles(m, k, n, layout):  # two of 128 x 128 for each of a batch of matrices, so that they fill the device
    a, b = np.random.randn(132, m, k).astype(np.float32), np.random.randn(132, k, n).astype(np.float32)
    arrays = [nd.array(np.swapaxes(v, 1, 2).copy() if t else v, "float32", ndl.cuda()) for v, t in zip((a, b), layout)]
    product = matmul(*(v.permute(0, 2, 1) if t else v for v, t in zip(arrays, layout))).numpy()
    np.testing.assert_allclose(product, a @ b, rtol=1e-5, atol=1e-5)
