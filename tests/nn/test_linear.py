from __future__ import annotations

import numpy as np
import pytest

from needle import nn, ops
from needle.autograd import Tensor
from needle.backend_ndarray import cpu, cpu_numpy
from needle.errors import DeviceError, DTypeError, ShapeError


def test_initial_weights(device):
    np.random.seed(7)
    layer = nn.Linear(5, 8, device=device)
    np.random.seed(7)
    weight = (np.random.rand(5, 8) * 2 - 1) * np.sqrt(6 / 5)
    bias = ((np.random.rand(8, 1) * 2 - 1) * np.sqrt(6 / 8)).reshape(1, 8)
    np.testing.assert_allclose(layer.weight.numpy(), weight, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.bias.numpy(), bias, rtol=1e-5, atol=1e-7)
    assert (layer.in_features, layer.out_features) == (5, 8)
    assert [p.requires_grad for p in layer.parameters()] == [True, True]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("shape", [(4, 3), (1, 3), (2, 5, 3), (0, 3)])
def test_forward_and_backward(shape, dtype, tolerance, device):
    layer = nn.Linear(3, 2, device=device, dtype=dtype)
    x = Tensor(np.random.randn(*shape), device=device, dtype=dtype)
    grad = np.random.randn(*shape[:-1], 2)
    out = layer(x)
    out.backward(Tensor(grad, device=device, dtype=dtype))
    assert out.dtype == layer.weight.grad.dtype == dtype and out.device is device
    weight, rows, grads = layer.weight.numpy(), x.numpy().reshape(-1, 3), grad.reshape(-1, 2)
    for met, expected in (
        (out, x.numpy() @ weight + layer.bias.numpy()),
        (x.grad, grad @ weight.T),
        (layer.weight.grad, rows.T @ grads),
        (layer.bias.grad, grads.sum(0, keepdims=True)),
    ):
        assert met.shape == expected.shape
        np.testing.assert_allclose(met.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_a_relu_as_part_of_it(bias, device):
    fused = nn.Linear(40, 30, bias, device=device, dtype="float64", nonlinearity="relu")
    linear = nn.Linear(40, 30, bias, device=device, dtype="float64")
    linear.load_state_dict(fused.state_dict())
    x = Tensor(np.random.randn(2, 50, 40), device=device, dtype="float64")
    grad = Tensor(np.random.randn(2, 50, 30), device=device, dtype="float64")
    results = []
    for layer in (fused, nn.Sequential(linear, nn.ReLU())):
        out = layer(x)
        out.backward(grad, create_graph=False)
        results.append([tensor.numpy() for tensor in (out, x.grad, *(p.grad for p in layer.parameters()))])
    for met, expected in zip(*results):
        np.testing.assert_allclose(met, expected, rtol=1e-12, atol=1e-12)


def test_an_unknown_nonlinearity():
    with pytest.raises(ValueError, match="Linear: nonlinearity 'tanh': expected None or 'relu'"):
        nn.Linear(2, 3, nonlinearity="tanh")
    with pytest.raises(ValueError, match="linear: nonlinearity 'tanh': expected None or 'relu'"):
        x = Tensor(np.ones((2, 2)))
        ops.linear(x, x, x[0], nonlinearity="tanh")


def test_without_bias(device):
    layer = nn.Linear(3, 2, bias=False, device=device)
    x = Tensor(np.ones((1, 3)), device=device)
    assert layer.bias is None and len(layer.parameters()) == 1
    np.testing.assert_allclose(layer(x).numpy(), layer.weight.numpy().sum(0, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (), (3, 2)])
def test_inputs_of_a_wrong_shape(shape):
    with pytest.raises(ShapeError) as error:
        nn.Linear(3, 2)(Tensor(np.zeros(shape)))
    assert str(error.value) == f"Linear(in_features=3, out_features=2): an input of shape {shape}: expected (N, 3)"


def test_an_input_of_another_device():
    with pytest.raises(DeviceError, match=r"linear: operands on cpu_numpy\(\) and cpu\(\): expected one device"):
        nn.Linear(3, 2, device=cpu())(Tensor(np.zeros((1, 3)), device=cpu_numpy()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_unknown_nonlinearity_of_operands_alike_or_not(dtype):
    x, weight, bias = Tensor(np.ones((1, 3)), dtype=dtype), Tensor(np.ones((3, 2))), Tensor(np.ones(2))
    with pytest.raises(ValueError, match="linear: nonlinearity 'gelu': expected None or 'relu'"):
        ops.linear(x, weight, bias, "gelu")


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", True])
def test_features_of_a_wrong_number(count):
    with pytest.raises(ValueError, match=f"Linear: out_features of {count!r}: expected a whole number of 1 or more"):
        nn.Linear(3, count)


def test_a_dtype_that_cannot_be_learned():
    with pytest.raises(DTypeError, match="Linear: dtype int64: expected a floating one"):
        nn.Linear(3, 2, dtype="int64")
