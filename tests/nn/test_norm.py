from __future__ import annotations

import sys

import numpy as np
import pytest

from needle import init, memory_stats, nn, ops
from needle.autograd import Parameter, Tensor, no_grad
from needle.backend_ndarray import cpu, dispatch
from needle.errors import DTypeError, ShapeError

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
LAYERS = {  # name -> (layer, shape of x, axes of the statistics, shape in which weight and bias broadcast)
    "BatchNorm1d": (nn.BatchNorm1d, (8, 3), (0,), (3,)),
    "BatchNorm2d": (nn.BatchNorm2d, (4, 3, 5, 2), (0, 2, 3), (3, 1, 1)),
    "LayerNorm1d": (nn.LayerNorm1d, (8, 3), (1,), (3,)),
}


def make(name, device, dtype="float64", **settings):
    """A layer with random weight and bias, and an input for it."""
    layer_class, shape, axes, _ = LAYERS[name]
    layer = layer_class(3, device=device, dtype=dtype, **settings)
    layer.weight = Parameter(np.random.randn(3), device=device, dtype=dtype)
    layer.bias = Parameter(np.random.randn(3), device=device, dtype=dtype)
    return layer, Tensor(np.random.randn(*shape) * 2 + 3, device=device, dtype=dtype)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_and_backward_in_training(name, dtype, device):
    """With x^ = (x - mean) / sigma, g = grad * weight:

    grad_x = (g - mean(g) - x^ * mean(g * x^)) / sigma, grad_weight = sum(grad * x^), grad_bias = sum(grad)
    """
    _, _, axes, affine = LAYERS[name]
    layer, x = make(name, device, dtype, eps=1e-3)
    values, weight, bias = x.numpy(), layer.weight.numpy().reshape(affine), layer.bias.numpy().reshape(affine)
    sigma = np.sqrt(values.var(axes, keepdims=True) + 1e-3)
    normalized = (values - values.mean(axes, keepdims=True)) / sigma
    out = layer(x)
    grad = np.random.randn(*x.shape)
    out.backward(Tensor(grad, device=device, dtype=dtype))
    g = grad * weight
    means = g.mean(axes, keepdims=True), (g * normalized).mean(axes, keepdims=True)
    rows = tuple(axis for axis in range(x.ndim) if axis != 1)
    for met, expected in (
        (out, normalized * weight + bias),
        (x.grad, (g - means[0] - normalized * means[1]) / sigma),
        (layer.weight.grad, (grad * normalized).sum(rows)),
        (layer.bias.grad, grad.sum(rows)),
    ):
        assert met.dtype == dtype and met.shape == expected.shape
        np.testing.assert_allclose(met.numpy(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics_and_evaluation(name, dtype, device):
    _, _, axes, affine = LAYERS[name]
    layer, x = make(name, device, dtype, momentum=0.3)
    mean, variance = np.zeros(3), np.ones(3)
    running = layer.running_mean
    for step in range(4):
        values = np.random.randn(*x.shape) * (step + 1) + step
        layer(Tensor(values, device=device, dtype=dtype))
        mean = 0.7 * mean + 0.3 * values.mean(axes)
        variance = 0.7 * variance + 0.3 * values.var(axes)  # biased
    assert layer.running_mean is running and running.dtype == dtype
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, **tolerance)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, **tolerance)

    out = layer.eval()(x)
    weight, bias, mean, variance = (
        a.reshape(affine) for a in (layer.weight.numpy(), layer.bias.numpy(), mean, variance)
    )
    expected = (x.numpy() - mean) / np.sqrt(variance + 1e-5) * weight + bias
    np.testing.assert_allclose(out.numpy(), expected, **tolerance)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean.ravel(), **tolerance)
    grad = np.random.randn(*x.shape)
    out.backward(Tensor(grad, device=device, dtype=dtype))
    np.testing.assert_allclose(x.grad.numpy(), grad * weight / np.sqrt(variance + 1e-5), **tolerance)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_relu_as_part_of_it(name, training, dtype, device):
    fused, x = make(name, device, dtype, nonlinearity="relu")
    norm = LAYERS[name][0](3, device=device, dtype=dtype)
    norm.load_state_dict(fused.state_dict())
    grad = Tensor(np.random.randn(*x.shape), device=device, dtype=dtype)
    results = []
    for layer in (fused, nn.Sequential(norm, nn.ReLU())):
        layer.train() if training else layer.eval()
        out = layer(x)
        out.backward(grad, create_graph=False)
        grads = [parameter.grad for parameter in layer.parameters()]
        buffers = [buffer for _, buffer in layer.named_buffers()]
        results.append([tensor.numpy() for tensor in (out, x.grad, *grads, *buffers)])
    assert 0 < (results[0][0] == 0).mean() < 1
    for met, expected in zip(*results):
        np.testing.assert_allclose(met, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_backward_pass_knows_what_a_relu_let_through(dtype, device):
    layer = nn.BatchNorm1d(4, nonlinearity="relu", device=device, dtype=dtype)
    out = layer(Tensor(np.random.randn(200, 4) + 100, device=device, dtype=dtype))
    out.sum().backward()
    np.testing.assert_array_equal(layer.bias.grad.numpy(), (out.numpy() > 0).sum(0))  # exact up to 256
    assert layer.running_mean.dtype == dtype


def test_a_relu_keeps_no_activation_of_its_own():
    device = cpu()
    x = Tensor(np.random.randn(16, 3, 32, 32), device=device)
    with_relu = nn.BatchNorm2d(3, nonlinearity="relu", device=device)
    without = nn.Sequential(nn.BatchNorm2d(3, device=device), nn.ReLU())
    kept = []
    for layer in (with_relu, without):
        before = memory_stats(device)["current"]
        out = layer(x)
        kept.append(memory_stats(device)["current"] - before)
        del out
    nbytes = 4 * x.size
    assert nbytes <= kept[0] < 1.1 * nbytes and 2 * nbytes <= kept[1]


def test_nan_passes_a_relu(device):
    layer = nn.BatchNorm1d(2, nonlinearity="relu", device=device)
    x = Tensor([[np.nan, 1], [2, 3]], device=device)
    out = layer(x).numpy()
    assert np.isnan(out[:, 0]).all() and out[0, 1] == 0 and out[1, 1] > 0.9


def test_initial_state(device):
    layer = nn.BatchNorm2d(3, device=device)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    for tensor, value in ((layer.weight, 1), (layer.bias, 0), (layer.running_mean, 0), (layer.running_var, 1)):
        np.testing.assert_array_equal(tensor.numpy(), np.full(3, value))
        assert tensor.device is device
    assert (layer.dim, layer.eps, layer.momentum) == (3, 1e-5, 0.1)


def test_running_statistics_take_no_part_in_differentiation(device):
    layer, x = make("BatchNorm1d", device)
    layer(x).sum().backward()
    assert layer.running_mean.grad is None and layer.running_mean.is_leaf()
    with no_grad():
        before = layer.running_mean.numpy()
        layer(x)
    assert (layer.running_mean.numpy() != before).all()


def test_a_layer_is_one_kernel_call(device, monkeypatch):
    """It also updates the running statistics."""
    layer, x = make("BatchNorm1d", device)
    kernels, call = [], dispatch.call
    for module in list(sys.modules.values()):
        if getattr(module, "call", None) is call:
            monkeypatch.setattr(module, "call", lambda *operands: (kernels.append(operands[1]), call(*operands)))
    layer(x)
    assert kernels == ["batch_norm"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_running_statistics_of_half_types(dtype, device):
    """Each step rounds the statistic, then the sum, to the buffers' dtype."""
    layer, x = make("BatchNorm1d", device, dtype, momentum=0.25)
    for _ in range(3):
        before = layer.running_mean.numpy().astype("float32"), layer.running_var.numpy().astype("float32")
        _, *statistics = ops.batch_norm(x, layer.weight, layer.bias)
        layer(x)
        for old, statistic, new in zip(before, statistics, (layer.running_mean, layer.running_var)):
            target = statistic.astype(dtype).numpy().astype("float32")
            np.testing.assert_array_equal(
                new.numpy(), (old + np.float32(0.25) * (target - old)).astype(new.numpy().dtype)
            )


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_later_forward_pass_leaves_the_gradient_alone(create_graph, device):
    """It updates the running statistics, of which no gradient is made; a backward pass does not update them."""
    layer, x = make("BatchNorm1d", device)
    grad = Tensor(np.random.randn(*x.shape), device=device, dtype="float64")
    layer(x).backward(grad, create_graph=create_graph)
    expected = x.grad.numpy()
    out = layer(x)
    layer(x * 3 + 1)
    before = layer.running_mean.numpy(), layer.running_var.numpy()
    out.backward(grad, create_graph=create_graph)
    np.testing.assert_array_equal(x.grad.numpy(), expected)
    if create_graph:
        (x.grad * x.grad).sum().backward()
    np.testing.assert_array_equal([layer.running_mean.numpy(), layer.running_var.numpy()], before)


@pytest.mark.parametrize(
    "running, error, message",
    [
        (1.0, TypeError, r"running 1\.0: expected None or a pair of Tensors"),
        ((np.zeros(3), np.ones(3)), TypeError, "operand 0 of type ndarray: expected a Tensor"),
        ((init.zeros(3),), TypeError, "running .*: expected None or a pair of Tensors"),
        ((init.zeros(3), init.ones(4)), ShapeError, r"statistics of shape \(4,\): expected \(3,\)"),
        (
            (init.zeros(3), init.ones(3, dtype="float64")),
            DTypeError,
            "dtypes float32, float64: expected one floating dtype",
        ),
    ],
)
def test_wrong_running_statistics(running, error, message):
    x = init.randn(4, 3)
    with pytest.raises(error, match=f"batch_norm: {message}"):
        ops.batch_norm(x, init.ones(3), init.zeros(3), running=running)


def test_a_wrong_momentum():
    pair = init.zeros(3), init.ones(3)
    with pytest.raises(ValueError, match="batch_norm: momentum of 2: expected a number of 0 to 1"):
        ops.batch_norm(init.randn(4, 3), init.ones(3), init.zeros(3), running=pair, momentum=2)


def test_the_state_dict_holds_the_running_statistics(device):
    source, x = make("BatchNorm1d", device)
    source(x)
    target = nn.BatchNorm1d(3, device=device, dtype="float64")
    target.load_state_dict(source.state_dict())
    np.testing.assert_array_equal(target.eval()(x).numpy(), source.eval()(x).numpy())


def test_layer_norm_of_more_axes_normalizes_the_last(device):
    x = Tensor(np.random.randn(2, 5, 3), device=device)
    layer = nn.LayerNorm1d(3, device=device)
    flat = layer(x.reshape((10, 3))).numpy().reshape(2, 5, 3)
    np.testing.assert_array_equal(layer(x).numpy(), flat)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (nn.BatchNorm1d(3), (2, 4), r"\(N, 3\)"),
        (nn.BatchNorm1d(3), (2, 3, 3), r"\(N, 3\)"),
        (nn.BatchNorm2d(3), (2, 4, 5, 5), r"\(N, 3, H, W\)"),
        (nn.BatchNorm2d(3), (2, 3), r"\(N, 3, H, W\)"),
        (nn.LayerNorm1d(3), (3, 4), r"\(..., 3\)"),
        (nn.LayerNorm1d(3), (), r"\(..., 3\)"),
    ],
)
def test_inputs_of_a_wrong_shape(layer, shape, expected):
    name = type(layer).__name__
    with pytest.raises(ShapeError, match=rf"^{name}\(dim=3, .*\): an input of shape \(.*\): expected {expected}"):
        layer(Tensor(np.zeros(shape)))


@pytest.mark.parametrize("name", LAYERS)
def test_wrong_settings(name):
    layer = LAYERS[name][0]
    with pytest.raises(ValueError, match=f"{name}: dim of 0: expected a whole number of 1 or more"):
        layer(0)
    with pytest.raises(ValueError, match=f"{name}: eps of -1"):
        layer(3, eps=-1)
    if name != "LayerNorm1d":
        with pytest.raises(ValueError, match=f"{name}: momentum of 1.5: expected a number of 0 to 1"):
            layer(3, momentum=1.5)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
def test_an_unknown_nonlinearity(name):
    with pytest.raises(ValueError, match=f"{name}: nonlinearity 'tanh': expected None or 'relu'"):
        LAYERS[name][0](3, nonlinearity="tanh")


def test_a_batch_of_nothing(device):
    """It has no statistics of its own; those of rows and given ones are as good as ever."""
    for layer in (nn.LayerNorm1d(3, device=device), nn.BatchNorm1d(3, device=device).eval()):
        x = Tensor(np.zeros((0, 3)), device=device)
        out = layer(x)
        out.sum().backward()
        assert out.shape == (0, 3) and x.grad.shape == (0, 3)
        assert layer.weight.grad.numpy().tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ShapeError, match="batch_norm: x .*: expected one element or more"):
        nn.BatchNorm1d(3, device=device)(Tensor(np.zeros((0, 3)), device=device))
