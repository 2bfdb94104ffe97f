"""Random numbers on the GPU are those of the CPU."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

FLOATING = ["float32", "float64", "float16", "bfloat16"]
SEED, OFFSET = 0x123456789ABCDEF, 2**33 + 7


def filled(kernel, shape, dtype, *before, view=lambda out: out):
    """What the kernel makes on the CPU and on the GPU, as float64."""
    both = []
    for device in (ndl.cpu(), ndl.cuda()):
        out = view(nd.zeros(shape, dtype, device))
        call(device, kernel, out, *before, SEED, OFFSET)
        both.append(out.numpy().astype(np.float64))
    return both


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5, 11), (70001,)])
def test_uniform_numbers_and_masks_are_those_of_the_cpu(shape, dtype):
    np.testing.assert_array_equal(*filled("random_uniform", shape, dtype))
    for p in (0.0, 0.1, 0.5, 1.0):
        np.testing.assert_array_equal(*filled("random_dropout_mask", shape, dtype, p))


@pytest.mark.parametrize("dtype", FLOATING)
def test_normal_numbers_are_those_of_the_cpu_but_for_rounding(dtype):
    on_cpu, on_gpu = filled("random_normal", (30001,), dtype)
    tolerance = {"float64": 1e-14, "float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}[dtype]
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=tolerance, atol=tolerance)
    if dtype in ("float16", "bfloat16"):
        assert (on_gpu == on_cpu).mean() > 0.99


@pytest.mark.parametrize("dtype", FLOATING)
def test_elements_count_in_row_major_order_wherever_they_lie(dtype):
    np.testing.assert_array_equal(*filled("random_uniform", (6, 8), dtype, view=lambda out: out.permute(1, 0)))
    np.testing.assert_array_equal(*filled("random_uniform", (50,), dtype, view=lambda out: out[3:40]))  # not aligned
    np.testing.assert_array_equal(*filled("random_uniform", (50,), dtype, view=lambda out: out[::-2]))
