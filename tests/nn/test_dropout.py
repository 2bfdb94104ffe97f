from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.backend_ndarray.random import manual_seed


def ones(*shape, device, dtype="float32"):
    return Tensor(np.ones(shape), device=device, dtype=dtype)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics(p, dtype, device):
    out = nn.Dropout(p)(ones(200, 100, device=device, dtype=dtype)).numpy()
    assert out.dtype == dtype
    np.testing.assert_allclose(np.unique(out), [0, 1 / (1 - p)], rtol=1e-6)
    assert abs((out == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / out.size)


def test_neighbours_are_dropped_independently(device):
    kept = nn.Dropout(0.5)(ones(200, 100, device=device)).numpy() > 0
    for a, b in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):
        assert abs((a == b).mean() - 0.5) < 5 * np.sqrt(0.25 / a.size)


def test_a_seed_repeats_the_masks_and_each_call_draws_another(device):
    layer, x = nn.Dropout(0.5), ones(50, 50, device=device)
    manual_seed(5)
    first, second = layer(x).numpy(), layer(x).numpy()
    assert (first != second).any()
    manual_seed(5)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    np.testing.assert_array_equal(layer(x).numpy(), second)
    manual_seed(6)
    assert (layer(x).numpy() != first).any()


def test_nothing_is_dropped_in_evaluation_mode():
    x = ones(5, 5, device=None)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0)(x) is x


def test_the_gradient_passes_where_the_value_did(device):
    x = Tensor(np.random.randn(20, 20) + 10, device=device)
    out = nn.Dropout(0.25)(x)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), out.numpy() / x.numpy(), rtol=1e-6)


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_a_wrong_probability(p):
    with pytest.raises(ValueError, match=rf"Dropout: a probability of {p}: expected 0 <= p < 1"):
        nn.Dropout(p)
