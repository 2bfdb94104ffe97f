from __future__ import annotations

import numpy as np
import pytest

from needle import nn, ops
from needle.autograd import Tensor
from needle.errors import ShapeError


def tensor(*shape, device=None):
    return Tensor(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), device=device)


def test_sequential_applies_modules_and_functions_in_turn(device):
    first, second = nn.Linear(3, 4, device=device), nn.Linear(4, 2, device=device)
    x = tensor(5, 3, device=device)
    np.testing.assert_array_equal(nn.Sequential(first, ops.tanh, second)(x).numpy(), second(ops.tanh(first(x))).numpy())


def test_sequential_of_nothing_is_the_identity():
    x = tensor(2, 3)
    assert nn.Sequential()(x) is x
    assert nn.Identity()(x) is x


def test_sequential_of_a_list():
    with pytest.raises(TypeError, match=r"Sequential: a list: expected Modules, as in Sequential\(a, b\)"):
        nn.Sequential([nn.ReLU()])


def test_residual(device):
    x = tensor(2, 3, device=device)
    np.testing.assert_array_equal(nn.Residual(lambda x: x * x)(x).numpy(), x.numpy() ** 2 + x.numpy())


def test_residual_and_relu(device):
    x = tensor(2, 3, device=device)
    out = nn.Residual(lambda x: x * x - 1, nonlinearity="relu")(x)
    expected = x.numpy() ** 2 + x.numpy() - 1
    np.testing.assert_allclose(out.numpy(), np.maximum(expected, 0), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="Residual: nonlinearity 'tanh': expected None or 'relu'"):
        nn.Residual(lambda x: x, nonlinearity="tanh")


@pytest.mark.parametrize(
    "shape, flat", [((4, 2, 3, 2), (4, 12)), ((4,), (4, 1)), ((4, 5), (4, 5)), ((0, 2, 3), (0, 6))]
)
def test_flatten(shape, flat, device):
    x = tensor(*shape, device=device)
    np.testing.assert_array_equal(nn.Flatten()(x).numpy(), x.numpy().reshape(flat))


def test_flatten_reads_a_channels_last_image_in_the_order_of_its_axes(device):
    x = ops.permute(tensor(2, 3, 4, 5, device=device), (0, 3, 1, 2))
    np.testing.assert_array_equal(nn.Flatten()(x).numpy(), x.numpy().reshape(2, 60))


def test_flatten_of_a_number():
    with pytest.raises(ShapeError, match=r"Flatten: an input of shape \(\): expected \(N, ...\)"):
        nn.Flatten()(Tensor(3.0))
