"""Programs in the idiom of CMU 10-414/714, whose names and conventions Needle keeps."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle import nn


def spirals(count: int = 300, classes: int = 3):
    """Points on intertwined spirals: not separable by a line."""
    generator = np.random.default_rng(0)
    label = np.arange(count) % classes
    radius = generator.random(count)
    angle = 2 * np.pi * (label / classes + 0.6 * radius) + generator.normal(size=count) * 0.05
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype("float32"), label


def test_two_layer_network_by_hand(device):
    """hw1: parameters are Tensors, updated outside of the graph."""
    x, y = spirals()
    weights = [ndl.init.randn(*shape, device=device, requires_grad=True) for shape in ((2, 32), (32, 3))]
    one_hot = device.one_hot(3, y)
    losses = []
    for _ in range(60):
        hidden = ndl.relu(ndl.matmul(ndl.Tensor(x, device=device), weights[0]))
        logits = hidden @ weights[1]
        loss = (ndl.logsumexp(logits, axes=(1,)) - (logits * ndl.Tensor(one_hot)).sum((1,))).sum() / len(x)
        loss.backward()
        weights = [ndl.Tensor(w.realize_cached_data() - 0.5 * w.grad.realize_cached_data()) for w in weights]
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def residual_block(dim, hidden_dim, norm, drop_prob, device):
    inner = nn.Sequential(
        nn.Linear(dim, hidden_dim, device=device), norm(hidden_dim, device=device), nn.ReLU(), nn.Dropout(drop_prob),
        nn.Linear(hidden_dim, dim, device=device), norm(dim, device=device),
    )  # fmt: skip
    return nn.Sequential(nn.Residual(inner), nn.ReLU())


def test_mlp_resnet_with_a_loader(device):
    """hw2: modules, a data loader, Adam, train and eval."""
    x, y = spirals()
    for norm in (nn.BatchNorm1d, nn.LayerNorm1d):
        model = nn.Sequential(
            nn.Linear(2, 32, device=device), nn.ReLU(), residual_block(32, 16, norm, 0.1, device),
            nn.Linear(32, 3, device=device),
        )  # fmt: skip
        optimizer = ndl.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.001)
        loss_function = nn.SoftmaxLoss()
        loader = ndl.data.DataLoader(ndl.data.NDArrayDataset(x, y), batch_size=50, shuffle=True, device=device)

        def evaluate():
            model.eval()
            return [loss_function(model(features), labels).item() for features, labels in loader]

        before = np.mean(evaluate())
        model.train()
        for _ in range(8):
            for features, labels in loader:
                optimizer.reset_grad()
                loss = loss_function(model(features), labels)
                loss.backward()
                optimizer.step()
        assert np.mean(evaluate()) < 0.7 * before


def test_array_idioms(device):
    """hw3: compact, permute, broadcast, set and get by slices, reductions with an axis."""
    values = np.random.randn(4, 5, 6)
    a = nd.array(values, device=device)
    np.testing.assert_allclose(a.permute((1, 2, 0)).compact().numpy(), values.transpose(1, 2, 0), rtol=1e-6)
    np.testing.assert_allclose(a[1:3, ::2, :4].compact().numpy(), values[1:3, ::2, :4], rtol=1e-6)
    np.testing.assert_allclose(a.sum(axis=1, keepdims=True).numpy(), values.sum(1, keepdims=True), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose((a + 1).max(axis=2).numpy(), (values + 1).max(2), rtol=1e-6)
    a[0:1, :, 2:5] = 0.5
    values[0:1, :, 2:5] = 0.5
    np.testing.assert_allclose((a**2).numpy(), values.astype("float32") ** 2, rtol=1e-5)


def test_convolution_idioms(device):
    """hw4: channels-last op, channels-first layer, flip, dilate, pad."""
    image = ndl.init.randn(2, 8, 8, 3, device=device)
    weight = ndl.init.randn(3, 3, 3, 4, device=device)
    assert ndl.conv(image, weight, padding=1, stride=2).shape == (2, 4, 4, 4)
    layer = nn.Conv(3, 4, 3, stride=1, device=device)
    out = layer(ndl.transpose(ndl.transpose(image, axes=(2, 3)), axes=(1, 2)))
    assert out.shape == (2, 4, 8, 8) and layer.weight.shape == (3, 3, 3, 4)
    out.sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape
    x = ndl.Tensor(np.arange(4.0).reshape(2, 2), device=device)
    np.testing.assert_array_equal(ndl.dilate(x, dilation=1, axes=(0,)).numpy(), [[0, 1], [0, 0], [2, 3], [0, 0]])
    np.testing.assert_array_equal(ndl.flip(x, axes=(0,)).numpy(), [[2, 3], [0, 1]])
    np.testing.assert_array_equal(ndl.stack([x, x], axis=0).shape, (2, 2, 2))


ALIASES = {
    "add_scalar": lambda x: x + 2.5,
    "mul_scalar": lambda x: x * 2.5,
    "divide_scalar": lambda x: x / 2.5,
    "power_scalar": lambda x: x**2.5,
    "ewise_pow": lambda x: x**x,
    "summation": ndl.sum,
    "logsoftmax": ndl.log_softmax,
}


@pytest.mark.parametrize("name", ALIASES)
def test_the_names_that_differ(name, device):
    """needle/ops/course.py: the course's functions are in `needle` and `needle.ops`, and do what ours do."""
    x = ndl.Tensor([[0.5, 2.0], [3.0, 1.0]], device=device)
    arguments = [2.5] if name.endswith("_scalar") else [x] if name == "ewise_pow" else []
    assert getattr(ndl, name) is getattr(ndl.ops, name)
    np.testing.assert_array_equal(getattr(ndl, name)(x, *arguments).numpy(), ALIASES[name](x).numpy())
