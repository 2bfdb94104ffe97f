"""Each announced difference is one, and is what differences.py says."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import needle as ndl
from needle import nn, ops, optim
from tests.peers.differences import DIFFERENCES


class InPyTorch:
    """What expressions call, by PyTorch."""

    @staticmethod
    def t(value, dtype=None):
        tensor = torch.tensor(value, dtype=None if dtype is None else getattr(torch, dtype))
        return tensor.requires_grad_() if tensor.is_floating_point() else tensor

    @staticmethod
    def p(value):
        return torch.nn.Parameter(torch.tensor(value))

    @staticmethod
    def set_grad(parameter, value):
        parameter.grad = torch.full_like(parameter, value)

    @staticmethod
    def rate(optimizer):
        return optimizer.param_groups[0]["lr"]

    @staticmethod
    def momentum(optimizer):
        return optimizer.param_groups[0]["momentum"]

    SGD = torch.optim.SGD


class InNeedle:
    """The same by Needle."""

    @staticmethod
    def t(value, dtype=None):
        return ndl.Tensor(value, dtype=dtype)

    @staticmethod
    def p(value):
        return ndl.Parameter(value)

    @staticmethod
    def set_grad(parameter, value):
        parameter.grad = ndl.Tensor(np.full(parameter.shape, value))

    @staticmethod
    def rate(optimizer):
        return optimizer.lr

    @staticmethod
    def momentum(optimizer):
        return optimizer.momentum

    SGD = optim.SGD


def names_for(library) -> dict:
    """What expressions may use: modules, and functions of that library."""

    def grad(function, value):
        x = library.t(value)
        function(x).sum().backward()
        return x.grad

    def accumulated(x):
        """The gradient after (2 x).backward() and another such."""
        for _ in range(2):
            (2 * x).backward()
        return x.grad

    def twice(x):
        """The gradient after y.backward() and y.backward() again, y = x * x"""
        y = x * x
        y.backward()
        y.backward()
        return x.grad

    def after_steps(optimizer_class, **settings):
        """A parameter of 1 after each of two steps, its gradient being 1."""
        x, met = library.p(1.0), []
        optimizer = optimizer_class([x], **settings)
        for _ in range(2):
            library.set_grad(x, 1.0)
            optimizer.step()
            met.append(x.item())
        return met

    def lrs(schedule_of, steps):
        """A learning rate of 1 under a schedule: at first, and after each step."""
        optimizer = library.SGD([library.p(1.0)], lr=1.0)
        schedule = schedule_of(optimizer)
        met = [library.rate(optimizer)]
        for _ in range(steps):
            schedule.step()
            met.append(library.rate(optimizer))
        return [float(f"{rate:.6g}") for rate in met]

    def momentum_of(schedule_of):
        """A momentum of 0.5 under a schedule."""
        optimizer = library.SGD([library.p(1.0)], lr=1.0, momentum=0.5)
        schedule_of(optimizer)
        return float(library.momentum(optimizer))

    def running_var(layer, rows):
        layer(library.t(rows))
        return layer.running_var.item()

    def bound(weight):
        """The largest absolute value of a weight, to two digits."""
        return float(f"{float(abs(weight).max()):.2g}")

    functions = {name: value for name, value in locals().items() if callable(value)}
    modules = {"torch": torch, "F": torch.nn.functional, "lr_scheduler": lr_scheduler, "ndl": ndl, "np": np}
    constants = {"inf": math.inf, "nan": math.nan, "t": library.t, "p": library.p}
    return functions | modules | {"ops": ops, "nn": nn, "optim": optim} | constants


def show(value) -> str:
    """As a document has it."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
    elif isinstance(value, ndl.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:  # as few digits as tell it from its neighbours
            value = np.array([float(str(number)) for number in value.flat]).reshape(value.shape)
        value = value.tolist() if value.dtype.kind != "V" and value.dtype.name != "bfloat16" else float(value)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)


def outcome(expression: str, library) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return show(eval(expression, names_for(library)))
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.name)
def test_both_do_what_is_announced(difference):
    assert outcome(difference.pytorch, InPyTorch) == difference.theirs
    assert outcome(difference.needle, InNeedle) == difference.ours
    assert difference.theirs != difference.ours


def test_no_difference_is_announced_twice():
    assert len({difference.name for difference in DIFFERENCES}) == len(DIFFERENCES)
    assert len({difference.pytorch for difference in DIFFERENCES}) == len(DIFFERENCES)
