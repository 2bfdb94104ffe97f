from __future__ import annotations

import math

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor

SQRT2, SQRT2PI = math.sqrt(2), math.sqrt(2 * math.pi)


def cdf(x):
    """P(X <= x) for a standard normal X"""
    return (1 + np.vectorize(math.erf)(x / SQRT2)) / 2


CASES = {
    "ReLU": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "Tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "GELU": (lambda x: x * cdf(x), lambda x: cdf(x) + x * np.exp(-(x**2) / 2) / SQRT2PI),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-12)])
def test_value_and_derivative(name, dtype, tolerance, device):
    value, derivative = CASES[name]
    points = np.linspace(-4, 4, 24).reshape(2, 3, 4)
    x = Tensor(points, device=device, dtype=dtype)
    out = getattr(nn, name)()(x)
    out.sum().backward()
    assert out.dtype == dtype and getattr(nn, name)().parameters() == []
    np.testing.assert_allclose(out.numpy(), value(points), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(x.grad.numpy(), derivative(points), rtol=tolerance, atol=tolerance)
