from __future__ import annotations

import numpy as np
import pytest

from needle.autograd import Parameter, Tensor
from needle.optim import Adam, AdamW


def formula(value, grads, lr, beta1, beta2, eps, weight_decay, decoupled):
    m = v = 0
    for t, grad in enumerate(grads, 1):
        if decoupled:
            value = value - lr * weight_decay * value
        else:
            grad = grad + weight_decay * value
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        value = value - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return value


@pytest.mark.parametrize("optimizer_class", [Adam, AdamW])
@pytest.mark.parametrize("settings", [(0.1, 0.9, 0.999, 1e-8, 0.0), (0.02, 0.5, 0.8, 0.1, 0.3)])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-12)])
def test_several_steps(optimizer_class, settings, dtype, tolerance, device):
    value, grads = np.random.randn(3, 4), np.random.randn(6, 3, 4)
    parameter = Parameter(value, device=device, dtype=dtype)
    optimizer = optimizer_class([parameter], *settings)
    for grad in grads:
        parameter.grad = Tensor(grad, device=device, dtype=dtype)
        optimizer.step()
    expected = formula(value, grads, *settings, decoupled=optimizer_class is AdamW)
    np.testing.assert_allclose(parameter.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_the_first_step_is_lr_long_whatever_the_gradient(device):
    x = Parameter(np.zeros(4), device=device, dtype="float64")
    x.grad = Tensor([1e-3, -5.0, 1e4, 0.0], device=device, dtype="float64")
    Adam([x], lr=0.25).step()
    np.testing.assert_allclose(x.numpy(), [-0.25, 0.25, -0.25, 0], rtol=1e-4)


def test_each_parameter_counts_its_own_steps(device):
    """So one that gets its first gradient late starts with a step of lr as well."""
    early, late = (Parameter([0.0], device=device) for _ in range(2))
    optimizer = Adam([early, late], lr=0.1)
    for step in range(3):
        early.grad = Tensor([1.0], device=device)
        late.grad = Tensor([1.0], device=device) if step == 2 else None
        optimizer.step()
    assert optimizer.steps == [3, 1]
    np.testing.assert_allclose([early.item(), late.item()], [-0.3, -0.1], rtol=1e-5)


def test_defaults():
    adam, adamw = Adam([Parameter([1.0])]), AdamW([Parameter([1.0])])
    assert (adam.lr, adam.beta1, adam.beta2, adam.eps, adam.weight_decay) == (0.01, 0.9, 0.999, 1e-8, 0)
    assert (adamw.lr, adamw.beta1, adamw.beta2, adamw.eps, adamw.weight_decay) == (0.001, 0.9, 0.999, 1e-8, 0.01)


@pytest.mark.parametrize("optimizer_class", [Adam, AdamW])
@pytest.mark.parametrize("setting, value", [("beta1", 1.0), ("beta2", -0.1), ("eps", -1e-8), ("weight_decay", -1)])
def test_wrong_settings(optimizer_class, setting, value):
    message = f"{optimizer_class.__name__}: {setting} of {value}: expected a number of 0 or more"
    with pytest.raises(ValueError, match=message):
        optimizer_class([Parameter([1.0])], **{setting: value})
