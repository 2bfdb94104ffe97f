from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.errors import ShapeError


def windows(x, kernel_size, stride, padding, fill):
    """(N, C, H', W', K, K)"""
    border = (padding, padding)
    x = np.pad(x, ((0, 0), (0, 0), border, border), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (kernel_size, kernel_size), (2, 3))[:, :, ::stride, ::stride]


SETTINGS = [(2, None, 0), (3, 2, 1), (2, 1, 0), (3, None, 0), (2, 3, 1)]


@pytest.mark.parametrize("kernel_size, stride, padding", SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward(kernel_size, stride, padding, dtype, device):
    x = Tensor(np.random.randn(2, 3, 7, 8), device=device, dtype=dtype)
    settings = (kernel_size, stride or kernel_size, padding)
    maximum = nn.MaxPool2d(kernel_size, stride, padding)(x)
    average = nn.AvgPool2d(kernel_size, stride, padding)(x)
    np.testing.assert_array_equal(maximum.numpy(), windows(x.numpy(), *settings, -np.inf).max((-2, -1)))
    np.testing.assert_allclose(average.numpy(), windows(x.numpy(), *settings, 0).mean((-2, -1)), rtol=1e-5, atol=1e-6)
    assert maximum.dtype == average.dtype == dtype


def test_gradients_without_overlap(device):
    """The gradient of a window's output goes to its largest element, or to all alike."""
    x = Tensor(np.random.permutation(2 * 3 * 4 * 6).reshape(2, 3, 4, 6), device=device, dtype="float64")
    grad = np.random.randn(2, 3, 2, 3)
    spread = grad.repeat(2, axis=2).repeat(2, axis=3)
    nn.AvgPool2d(2)(x).backward(Tensor(grad, device=device, dtype="float64"))
    np.testing.assert_allclose(x.grad.numpy(), spread / 4)
    largest = nn.MaxPool2d(2)(x)
    largest.backward(Tensor(grad, device=device, dtype="float64"))
    chosen = x.numpy() == largest.numpy().repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_allclose(x.grad.numpy(), spread * chosen)


@pytest.mark.parametrize("layer", [nn.MaxPool2d, nn.AvgPool2d])
def test_errors(layer):
    name = layer.__name__
    with pytest.raises(
        ShapeError, match=rf"{name}\(kernel_size=2, .*\): an input of shape \(4, 4\): expected \(N, C, H, W\)"
    ):
        layer(2)(Tensor(np.zeros((4, 4))))
    with pytest.raises(ValueError, match=f"{name}: kernel_size of 0: expected a whole number of 1 or more"):
        layer(0, 1)
    with pytest.raises(ValueError, match=f"{name}: stride of 0: expected a whole number of 1 or more"):
        layer(2, 0)
    with pytest.raises(ValueError, match=f"{name}: padding of 2: expected 0 to half of 3"):
        layer(3, 1, 2)
    with pytest.raises(ShapeError, match="a kernel of 5 does not fit into 4 pixels"):
        layer(5)(Tensor(np.zeros((1, 1, 4, 8))))
