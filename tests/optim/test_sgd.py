from __future__ import annotations

import numpy as np
import pytest

from needle.autograd import Parameter, Tensor
from needle.optim import SGD

CASES = {
    "plain": {},
    "weight decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "momentum and weight decay": {"momentum": 0.9, "weight_decay": 0.1},
    "PyTorch's momentum": {"momentum": 0.9, "weight_decay": 0.1, "dampening": 0},
    "dampening": {"momentum": 0.5, "dampening": 0.25},
    "nesterov": {"momentum": 0.9, "weight_decay": 0.1, "dampening": 0, "nesterov": True},
}


def formula(value, grads, lr, momentum=0.0, weight_decay=0.0, dampening=None, nesterov=False):
    velocity = np.zeros_like(value)
    dampening = momentum if dampening is None else dampening
    for grad in grads:
        g = grad + weight_decay * value
        velocity = momentum * velocity + (1 - dampening) * g
        if nesterov:
            g = g + momentum * velocity
        elif momentum:
            g = velocity
        value = value - lr * g
    return value


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])
def test_several_steps(name, dtype, tolerance, device):
    value, grads = np.random.randn(3, 4), np.random.randn(6, 3, 4)
    parameter = Parameter(value, device=device, dtype=dtype)
    optimizer = SGD([parameter], lr=0.2, **CASES[name])
    for grad in grads:
        parameter.grad = Tensor(grad, device=device, dtype=dtype)
        optimizer.step()
    np.testing.assert_allclose(
        parameter.numpy(), formula(value, grads, 0.2, **CASES[name]), rtol=tolerance, atol=tolerance
    )


def test_by_hand(device):
    """u = 0.5 u + 0.5 g with g = 2: u is 1, 1.5, 1.75"""
    x = Parameter([10.0], device=device)
    optimizer = SGD([x], 0.1, 0.5)
    met = []
    for _ in range(3):
        x.grad = Tensor([2.0], device=device)
        optimizer.step()
        met.append(x.item())
    np.testing.assert_allclose(met, [9.9, 9.75, 9.575], rtol=1e-6)


def test_the_learning_rate_may_change_between_steps(device):
    x = Parameter([1.0], device=device)
    optimizer = SGD([x], lr=0.5)
    for lr in (0.5, 0.25):
        optimizer.lr = lr
        x.grad = Tensor([1.0], device=device)
        optimizer.step()
    assert x.item() == 0.25


def test_the_gradient_is_not_changed(device):
    x = Parameter([1.0, 2.0], device=device)
    x.grad = Tensor([3.0, 4.0], device=device)
    SGD([x], lr=0.1, momentum=0, weight_decay=0.5).step()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 4])


@pytest.mark.parametrize("setting", ["momentum", "weight_decay", "dampening"])
def test_wrong_settings(setting):
    with pytest.raises(ValueError, match=f"SGD: {setting} of -0.1: expected a number of 0 or more"):
        SGD([Parameter([1.0])], **{setting: -0.1})


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"dampening": 0}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(settings):
    with pytest.raises(ValueError, match="SGD: nesterov with .*: expected a momentum above 0 and dampening=0"):
        SGD([Parameter([1.0])], nesterov=True, **settings)
