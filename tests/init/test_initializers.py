"""Initial weights against their formulas, drawn from NumPy's global generator."""

from __future__ import annotations

import numpy as np
import pytest

from needle import init


def uniform(shape, bound):
    return np.random.rand(*shape) * 2 * bound - bound


def normal(shape, std):
    return np.random.randn(*shape) * std


CASES = {
    "xavier_uniform": (lambda **o: init.xavier_uniform(3, 5, **o), lambda: uniform((3, 5), np.sqrt(6 / 8))),
    "xavier_uniform, gain": (
        lambda **o: init.xavier_uniform(3, 5, gain=1.5, **o), lambda: uniform((3, 5), 1.5 * np.sqrt(6 / 8)),
    ),
    "xavier_normal": (lambda **o: init.xavier_normal(3, 5, **o), lambda: normal((3, 5), np.sqrt(2 / 8))),
    "xavier_normal, gain": (
        lambda **o: init.xavier_normal(3, 5, gain=0.33, **o), lambda: normal((3, 5), 0.33 * np.sqrt(2 / 8)),
    ),
    "kaiming_uniform": (lambda **o: init.kaiming_uniform(3, 5, **o), lambda: uniform((3, 5), np.sqrt(6 / 3))),
    "kaiming_uniform, shape": (
        lambda **o: init.kaiming_uniform(18, 36, shape=(3, 3, 2, 4), **o),
        lambda: uniform((3, 3, 2, 4), np.sqrt(6 / 18)),
    ),
    "kaiming_uniform, tanh": (
        lambda **o: init.kaiming_uniform(3, 5, nonlinearity="tanh", **o), lambda: uniform((3, 5), 5 / 3),
    ),
    "kaiming_normal": (lambda **o: init.kaiming_normal(3, 5, **o), lambda: normal((3, 5), np.sqrt(2 / 3))),
    "kaiming_normal, shape": (
        lambda **o: init.kaiming_normal(18, 36, (3, 3, 2, 4), **o), lambda: normal((3, 3, 2, 4), np.sqrt(2 / 18)),
    ),
    "kaiming_normal, linear": (
        lambda **o: init.kaiming_normal(3, 5, nonlinearity="linear", **o), lambda: normal((3, 5), np.sqrt(1 / 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_formula(name, dtype, device):
    function, formula = CASES[name]
    np.random.seed(42)
    tensor = function(device=device, dtype=dtype, requires_grad=True)
    np.random.seed(42)
    np.testing.assert_allclose(tensor.numpy(), formula(), rtol=1e-5 if dtype == "float32" else 1e-12)
    assert tensor.dtype == dtype and tensor.device is device and tensor.requires_grad


def test_relu_layers_keep_the_scale_of_activations():
    """What the gain of sqrt(2) is for: E[y^2] is the same after any number of layers."""
    np.random.seed(0)
    x = np.random.randn(200, 512)
    for _ in range(10):
        x = np.maximum(x @ init.kaiming_uniform(512, 512, dtype="float64").numpy(), 0)
    assert 0.5 < np.mean(x**2) < 2


def test_errors():
    with pytest.raises(ValueError, match="kaiming_uniform: nonlinearity 'swish': expected .* or 'relu'"):
        init.kaiming_uniform(3, 5, nonlinearity="swish")
    with pytest.raises(ValueError, match="kaiming_normal: fan_in of 0: expected a whole number of 1 or more"):
        init.kaiming_normal(0, 5)
    with pytest.raises(
        ValueError, match=r"xavier_normal: fan_in \+ fan_out of 0: expected a whole number of 1 or more"
    ):
        init.xavier_normal(0, 0)
