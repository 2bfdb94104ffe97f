"""Optimizer steps on the GPU: more parameters than a launch takes, of more elements than a block does."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.dispatch import call

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)

STEPS = {
    "sgd_step": (1, [0.1, 0.9, 0.25, 0.01, True]),
    "sgd_step without momentum": (1, [0.1, 0.0, 0.0, 0.01, False]),
    "adam_step": (2, [1e-3, 0.9, 0.999, 1e-8, 0.01, False, 3]),
}


def updated(device, kernel, sizes, dtype, view, only_if_finite=()):
    """Parameters and states after a step."""
    random = np.random.default_rng(0)
    states, numbers = STEPS[kernel]
    lists = [
        [nd.array(random.random(size).astype(np.float32), device=device).astype(dtype) for size in sizes]
        for _ in range(2 + states)
    ]
    views = [[view(array) for array in arrays] for arrays in lists]
    condition = [nd.array(number, "float32", device) for number in only_if_finite]
    call(device, kernel.split()[0], *views, *numbers, condition)
    return [array.numpy().astype(np.float64) for arrays in lists for array in arrays]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14), ("bfloat16", 1e-2)])
@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[3:], lambda a: a[::-2]], ids=["whole", "unaligned", "reversed"]
)
@pytest.mark.parametrize("kernel", STEPS)
def test_a_step_of_many_parameters_is_that_of_the_cpu(kernel, view, dtype, tolerance):
    sizes = [0, 1, 4096, 4097, 3, 12289, *range(4, 150)]
    on_cpu, on_gpu = (updated(device, kernel, sizes, dtype, view) for device in (ndl.cpu(), ndl.cuda()))
    for expected, actual in zip(on_cpu, on_gpu):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", STEPS)
def test_nothing_changes_unless_a_number_is_finite(kernel):
    sizes = [1, 4097, *range(4, 150)]
    skipped, made, plain = (
        updated(ndl.cuda(), kernel, sizes, "float32", lambda a: a[::-2], condition) for condition in ([np.nan], [1], [])
    )
    before = updated(ndl.cuda(), kernel, sizes, "float32", lambda a: a[:0])
    for i in range(len(before)):
        np.testing.assert_array_equal(skipped[i], before[i])
        np.testing.assert_array_equal(made[i], plain[i])
    assert not np.array_equal(made[1], before[1])
