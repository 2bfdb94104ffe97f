"""Every optimizer of needle.optim beside PyTorch's, over several steps: parameters of several shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from needle import optim
from needle.autograd import Parameter, Tensor
from tests.peers.comparison import EPSILON, rounded

STEPS = 12
_ADAM = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6}

# (our class, its arguments, PyTorch's class, its arguments)
CASES = {
    "SGD": (optim.SGD, {"lr": 0.1}, torch.optim.SGD, {"lr": 0.1}),
    "SGD, weight decay": (
        optim.SGD, {"lr": 0.1, "weight_decay": 0.2}, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.2},
    ),
    "SGD, momentum as a sum": (
        optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9},
    ),
    "SGD, momentum and weight decay": (
        optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0.2},
        torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2},
    ),
    "SGD, nesterov": (
        optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0, "nesterov": True},
        torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ),
    "SGD, nesterov and weight decay": (
        optim.SGD, {"lr": 0.1, "momentum": 0.5, "dampening": 0, "nesterov": True, "weight_decay": 0.2},
        torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
    ),
    # An average of gradients is (1 - momentum) times their sum.
    "SGD, momentum as an average": (
        optim.SGD, {"lr": 0.5, "momentum": 0.9}, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9},
    ),
    "Adam": (optim.Adam, {"lr": 0.1}, torch.optim.Adam, {"lr": 0.1}),
    "Adam, all settings": (
        optim.Adam, {**_ADAM, "weight_decay": 0.2},
        torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2},
    ),
    "AdamW": (optim.AdamW, {}, torch.optim.AdamW, {}),
    "AdamW, all settings": (
        optim.AdamW, {**_ADAM, "weight_decay": 0.2},
        torch.optim.AdamW, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2},
    ),
}  # fmt: skip
SHAPES = ((), (3,), (4, 5), (2, 3, 3))


class Pair:
    """Parameters of ours and of PyTorch's with the same values, an optimizer for each, and the same gradients."""

    def __init__(self, name: str, dtype: str) -> None:
        ours, settings, theirs, their_settings = CASES[name]
        self.dtype = dtype
        self.generator = np.random.default_rng(3)
        values = [rounded(self.generator.normal(size=shape), dtype) for shape in SHAPES]
        self.ours = [Parameter(value, dtype=dtype) for value in values]
        self.theirs = [torch.nn.Parameter(torch.tensor(value, dtype=getattr(torch, dtype))) for value in values]
        self.optimizer = ours(self.ours, **settings)
        self.their_optimizer = theirs(self.theirs, **their_settings)

    def set_gradients(self, scale: float = 1.0, without: int | None = None) -> None:
        """`without`: the parameter that has none."""
        for index, (mine, other) in enumerate(zip(self.ours, self.theirs)):
            grad = rounded(scale * self.generator.normal(size=mine.shape), self.dtype)
            mine.grad = None if index == without else Tensor(grad, dtype=self.dtype)
            other.grad = None if index == without else torch.tensor(grad, dtype=other.dtype)

    def step(self) -> None:
        self.optimizer.step()
        self.their_optimizer.step()

    def assert_same(self, units: float = 64) -> None:
        for mine, other in zip(self.ours, self.theirs):
            tolerance = units * EPSILON[self.dtype]
            np.testing.assert_allclose(
                mine.numpy().astype(float), other.detach().double().numpy(), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_steps(name, dtype):
    pair = Pair(name, dtype)
    for step in range(STEPS):
        pair.set_gradients(without=step % 5)  # one in five steps of each parameter does not take place
        pair.step()
        pair.assert_same()


@pytest.mark.parametrize("name", CASES)
def test_steps_in_bfloat16(name):
    """Both round parameters and what they keep after each step, some of it at different places."""
    pair = Pair(name, "bfloat16")
    for _ in range(3):
        pair.set_gradients()
        pair.step()
    pair.assert_same(units=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e3, 1e15])
@pytest.mark.parametrize("name", CASES)
def test_small_and_large_gradients(name, scale, dtype):
    pair = Pair(name, dtype)
    for _ in range(3):
        pair.set_gradients(scale)
        pair.step()
        pair.assert_same()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("name", CASES)
def test_special_gradients(name, value):
    pair = Pair(name, "float32")
    for special in (True, False):
        pair.set_gradients()
        if special:
            for mine, other in zip(pair.ours, pair.theirs):
                mine.grad, other.grad = Tensor(np.full(mine.shape, value)), torch.full_like(other, value)
        pair.step()
        pair.assert_same()


@pytest.mark.parametrize("name", CASES)
def test_the_learning_rate_changes_between_steps(name):
    pair = Pair(name, "float64")
    for lr in (0.5, 0.1, 0.0, 0.3):
        pair.optimizer.lr = lr
        pair.their_optimizer.param_groups[0]["lr"] = lr * (0.1 if "average" in name else 1)
        pair.set_gradients()
        pair.step()
        pair.assert_same()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, np.inf, np.nan])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 100.0])
def test_clip_grad_norm(max_norm, scale, dtype):
    pair = Pair("SGD", dtype)
    pair.set_gradients()
    for mine, other in zip(pair.ours[:1], pair.theirs[:1]):  # of no axes: one number decides over all
        mine.grad, other.grad = mine.grad * scale, other.grad * scale
    norm = pair.optimizer.clip_grad_norm(max_norm)
    their_norm = torch.nn.utils.clip_grad_norm_(pair.theirs, max_norm)
    tolerance = 64 * EPSILON[dtype]
    np.testing.assert_allclose(float(norm), float(their_norm), rtol=tolerance)
    for mine, other in zip(pair.ours, pair.theirs):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_every_optimizer_is_compared():
    optimizers = {name for name in optim.__all__ if issubclass(getattr(optim, name), optim.Optimizer)}
    assert {case[0].__name__ for case in CASES.values()} == optimizers - {"Optimizer"}
