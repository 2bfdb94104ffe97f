from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.errors import ShapeError


def convolve(x, weight, bias, stride):
    """The definition, window by window: x (N, C, H, W), weight (K, K, C, F)."""
    k = weight.shape[0]
    x = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    rows, columns = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    out = np.zeros((x.shape[0], weight.shape[3], rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, :, i, j] = np.einsum("nchw,hwcf->nf", window, weight)
    return out + bias[:, None, None]


def test_initial_weights(device):
    np.random.seed(1)
    layer = nn.Conv(4, 6, 3, device=device)
    np.random.seed(1)
    weight = (np.random.rand(3, 3, 4, 6) * 2 - 1) * np.sqrt(6 / 36)
    bias = (np.random.rand(6) * 2 - 1) / np.sqrt(36)
    np.testing.assert_allclose(layer.weight.numpy(), weight, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.bias.numpy(), bias, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kernel_size, stride", [(1, 1), (3, 1), (3, 2), (5, 3), (7, 4), (2, 1), (4, 2)])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-12)])
def test_forward(kernel_size, stride, dtype, tolerance, device):
    layer = nn.Conv(3, 4, kernel_size, stride, device=device, dtype=dtype)
    x = Tensor(np.random.randn(2, 3, 9, 7), device=device, dtype=dtype)
    out = layer(x)
    expected = convolve(x.numpy(), layer.weight.numpy(), layer.bias.numpy(), stride)
    assert out.shape == expected.shape and out.dtype == dtype
    np.testing.assert_allclose(out.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_odd_kernels_keep_the_extents(kernel_size, device):
    x = Tensor(np.zeros((1, 2, 8, 5)), device=device)
    assert nn.Conv(2, 3, kernel_size, device=device)(x).shape == (1, 3, 8, 5)


@pytest.mark.parametrize("stride", [1, 2])
def test_backward(stride, device):
    """The output is linear in x, in the weight and in the bias: <grad, out> changes by <its gradient, the change>."""
    layer = nn.Conv(3, 4, 3, stride, device=device, dtype="float64")
    x = Tensor(np.random.randn(2, 3, 6, 5), device=device, dtype="float64")
    out = layer(x)
    grad = np.random.randn(*out.shape)
    out.backward(Tensor(grad, device=device, dtype="float64"))
    values = [tensor.numpy() for tensor in (x, layer.weight, layer.bias)]
    for i, tensor in enumerate((x, layer.weight, layer.bias)):
        change = np.random.randn(*tensor.shape)
        moved = [value + change if j == i else value for j, value in enumerate(values)]
        difference = (grad * (convolve(*moved, stride) - convolve(*values, stride))).sum()
        np.testing.assert_allclose((tensor.grad.numpy() * change).sum(), difference, rtol=1e-10)


def test_without_bias(device):
    layer = nn.Conv(1, 1, 1, bias=False, device=device)
    x = Tensor(np.ones((1, 1, 2, 2)), device=device)
    assert layer.bias is None and len(layer.parameters()) == 1
    np.testing.assert_allclose(layer(x).numpy(), np.full((1, 1, 2, 2), layer.weight.item()))


def test_activations_stay_channels_last(device):
    """From one convolution to the next the axes only seem to move: what the second one takes is not copied."""
    net = nn.Sequential(nn.Conv(2, 4, 3, device=device), nn.BatchNorm2d(4, device=device), nn.ReLU())
    out = net(Tensor(np.random.randn(2, 2, 6, 6), device=device))
    assert out.cached_data.permute(0, 2, 3, 1).is_compact()


def test_pairs_of_equal_numbers():
    layer = nn.Conv(1, 1, (5, 5), (2, 2))
    assert (layer.kernel_size, layer.stride, layer.padding) == (5, 2, 2)
    with pytest.raises(ValueError, match=r"Conv: kernel_size of \(3, 5\): expected a whole number, or two equal ones"):
        nn.Conv(1, 1, (3, 5))


@pytest.mark.parametrize("shape", [(8, 4, 32, 32), (3, 32, 32)])
def test_inputs_of_a_wrong_shape(shape):
    with pytest.raises(ShapeError) as error:
        nn.Conv(3, 16, 3)(Tensor(np.zeros(shape)))
    layer = "Conv(in_channels=3, out_channels=16, kernel_size=3, stride=1, padding=1)"
    assert str(error.value) == f"{layer}: an input of shape {shape}: expected (N, 3, H, W)"


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "kernel_size", "stride"])
def test_wrong_counts(name):
    arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, "stride": 1, name: 0}
    with pytest.raises(ValueError, match=f"Conv: {name} of 0: expected a whole number of 1 or more"):
        nn.Conv(**arguments)


def recorded(value) -> list[str]:
    """The names of the Ops of a graph, from its result on."""
    return [] if value.op is None else [type(value.op).__name__] + [n for x in value.inputs for n in recorded(x)]


def test_images_stay_channels_last_between_layers():
    layers = nn.Sequential(nn.Conv(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Conv(4, 2, 3))
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)))
    out = layers(x)
    assert out.shape == (2, 2, 4, 4)
    assert recorded(out) == ["Permute", "Conv", "MaxPool2d", "BatchNorm", "Conv", "Permute"]
    out.sum().backward()
    assert x.grad.shape == x.shape


def test_data_assigned_between_layers_is_used():
    first, second = nn.Conv(1, 1, 1, bias=False), nn.Conv(1, 1, 1, bias=False)
    hidden = first(Tensor(np.ones((1, 1, 2, 2))))
    hidden.data = Tensor(np.arange(4.0).reshape(1, 1, 2, 2))
    expected = second.weight.numpy().item() * np.arange(4.0).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(second(hidden).numpy(), expected, rtol=1e-6)
