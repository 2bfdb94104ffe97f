"""The two networks: their sizes, shapes and gradients."""

import numpy as np
import pytest

import needle as ndl
from experiments.models.resnet9 import ConvBN, ResNet9, ResNet9Wide


def count(model):
    return sum(parameter.size for parameter in model.parameters())


def test_the_course_network_has_its_number_of_parameters(device):
    assert count(ResNet9(device=device)) == 431946
    assert count(ResNet9(num_classes=100, device=device)) == 431946 + 90 * 129


def test_the_wide_network_has_its_layers():
    # 3x3 convolutions without bias, 64-128-256-512, two residual blocks of two; batch norms; the last linear layer.
    network = ResNet9Wide()
    shapes = [parameter.shape for parameter in network.parameters() if parameter.ndim == 4]
    channels = [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
    assert shapes == [(3, 3, *pair) for pair in channels]
    norms = 2 * sum(out for _, out in channels)
    assert count(network) == 9 * sum(a * b for a, b in channels) + norms + 512 * 10 == 6_573_120


@pytest.mark.parametrize("model", [ResNet9, ResNet9Wide])
def test_every_parameter_gets_a_gradient(model):
    network = model()
    x = ndl.init.rand(2, 3, 32, 32)
    logits = network(x)
    assert logits.shape == (2, 10)
    ndl.nn.SoftmaxLoss()(logits, ndl.Tensor([3, 7])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, name
        assert np.isfinite(parameter.grad.numpy()).all(), name


@pytest.mark.parametrize("model", [ResNet9, ResNet9Wide])
def test_normalization_and_relu_in_one_do_what_both_do(model, monkeypatch):
    def one_after_the_other(layer, x):
        layer.norm.nonlinearity = None
        return ndl.relu(layer.norm(layer.conv(x)))

    network = model(dtype="float64")
    x = ndl.Tensor(np.random.randn(4, 3, 32, 32), dtype="float64")
    results = []
    for forward in (ConvBN.forward, one_after_the_other):
        monkeypatch.setattr(ConvBN, "forward", forward)
        logits = network(x)
        ndl.nn.SoftmaxLoss()(logits, ndl.Tensor([3, 7, 0, 1])).backward()
        results.append([logits.numpy(), *(parameter.grad.numpy() for parameter in network.parameters())])
    for met, expected in zip(*results):
        np.testing.assert_allclose(met, expected, rtol=1e-7, atol=1e-9 * max(1.0, np.abs(expected).max()))


def test_the_names_in_checkpoints():
    names = list(ResNet9().state_dict())
    layer = "layers.modules.0"
    assert names[:6] == [f"{layer}.conv.weight", f"{layer}.conv.bias"] + [
        f"{layer}.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    ]


def test_both_devices_agree():
    np.random.seed(0)
    x = np.random.rand(4, 3, 32, 32).astype("float32")
    results = []
    for device in (ndl.cpu(), ndl.cpu_numpy()):
        np.random.seed(1)
        network = ResNet9(device=device)
        loss = ndl.nn.SoftmaxLoss()(network(ndl.Tensor(x, device=device)), ndl.Tensor([1, 2, 3, 4], device=device))
        loss.backward()
        results.append([loss.numpy(), *(parameter.grad.numpy() for parameter in network.parameters())])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * max(1.0, np.abs(b).max()))
