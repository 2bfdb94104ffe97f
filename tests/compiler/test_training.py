"""Whole training steps: with and without ndl.jit they leave the same bits."""

import numpy as np
import pytest

import needle as ndl
from needle import nn, optim
from tests.devices import devices


def train(device, make_optimizer, jit, steps=5):
    """Everything that a few steps of a small network leave behind."""
    ndl.manual_seed(3)
    model = nn.Sequential(
        nn.Linear(12, 16, device=device), nn.BatchNorm1d(16, device=device), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(16, 4, device=device),
    )  # fmt: skip
    optimizer = make_optimizer(model.parameters())
    schedule = optim.CosineAnnealingLR(optimizer, 10)
    loss_function = nn.SoftmaxLoss()

    def step(x, labels):
        optimizer.reset_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.clip_grad_norm(1.0)
        optimizer.step()
        schedule.step()
        return loss

    step = ndl.jit(step) if jit else step
    rng = np.random.default_rng(0)
    left = []
    for _ in range(steps):
        x = ndl.Tensor(rng.standard_normal((8, 12)), device=device, requires_grad=False)
        labels = ndl.Tensor(rng.integers(0, 4, 8), device=device, requires_grad=False)
        left.append(step(x, labels).numpy())
    left += [*model.state_dict().values(), *(parameter.grad.numpy() for parameter in model.parameters())]
    left += map(np.asarray, optimizer.state_dict().values())
    return [array.tobytes() for array in left], step


@pytest.mark.parametrize("device", devices(), ids=repr)
@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, dampening=0),
        lambda parameters: optim.Adam(parameters, lr=0.01, weight_decay=0.1),
        lambda parameters: optim.AdamW(parameters, lr=0.01),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_a_training_step_leaves_the_same_bits(device, make_optimizer):
    expected, _ = train(device, make_optimizer, jit=False)
    got, step = train(device, make_optimizer, jit=True)
    assert got == expected
    assert len(step.programs()) == 1
