"""Random numbers made on the device."""

import numpy as np
import pytest

from needle.backend_ndarray import cpu, random
from needle.backend_ndarray.dtype import FLOATING


def test_a_seed_repeats_a_run(device):
    random.manual_seed(3)
    first = [random.uniform((5,), device=device).numpy() for _ in range(2)]
    host = np.random.rand(3)
    random.manual_seed(3)
    second = [random.uniform((5,), device=device).numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(host, np.random.rand(3))
    assert not (first[0] == first[1]).any()


def test_a_state_goes_on_where_it_was(device):
    random.normal((4,), device=device)
    state = random.get_state()
    expected = random.normal((4,), device=device).numpy()
    random.manual_seed(99)
    random.set_state(state)
    np.testing.assert_array_equal(random.normal((4,), device=device).numpy(), expected)


@pytest.mark.parametrize("dtype", FLOATING)
def test_uniform_moments(device, dtype):
    values = random.uniform((200, 500), dtype, device).numpy().astype("float64")
    assert 0 <= values.min() and values.max() <= 1
    if dtype in ("float32", "float64"):
        assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.005 and abs(values.var() - 1 / 12) < 0.002


@pytest.mark.parametrize("dtype", FLOATING)
def test_normal_moments(device, dtype):
    values = random.normal((200, 500), dtype, device).numpy().astype("float64")
    assert np.isfinite(values).all()
    moments = [np.mean(values**k) for k in range(1, 5)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.06)
    assert abs(np.mean(values[:, ::2] * values[:, 1::2])) < 0.02  # neighbours come from one Box-Muller pair


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_dropout_mask(device, p):
    mask = random.dropout_mask((300, 300), p, device=device).numpy()
    kept = mask[mask != 0]
    np.testing.assert_allclose(kept, 1 / (1 - p), rtol=1e-6)
    assert abs((mask == 0).mean() - p) < 0.01


def test_threads_do_not_matter():
    if not cpu().enabled():
        pytest.skip("no compiled kernels")
    kernels = cpu().kernels
    before = kernels.get_num_threads()
    results = []
    for threads in (1, 3):
        kernels.set_num_threads(threads)
        random.manual_seed(1)
        results.append(random.normal((1000, 301), device=cpu()).numpy())
    kernels.set_num_threads(before)
    np.testing.assert_array_equal(*results)
