"""Every schedule of needle.optim beside PyTorch's: the learning rate after each of many steps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from needle import optim
from needle.autograd import Parameter

LR = 0.3

# (ours, PyTorch's, for how many steps): each makes a schedule of an optimizer
CASES = {
    "StepLR": (lambda o: optim.StepLR(o, 3, 0.5), lambda o: lr_scheduler.StepLR(o, 3, 0.5), 20),
    "StepLR, default gamma": (lambda o: optim.StepLR(o, 1), lambda o: lr_scheduler.StepLR(o, 1), 5),
    "MultiStepLR": (
        lambda o: optim.MultiStepLR(o, [9, 2, 2, 15], 0.5),
        lambda o: lr_scheduler.MultiStepLR(o, [9, 2, 2, 15], 0.5), 20,
    ),
    "CosineAnnealingLR": (
        lambda o: optim.CosineAnnealingLR(o, 10), lambda o: lr_scheduler.CosineAnnealingLR(o, 10), 10,
    ),
    "CosineAnnealingLR, eta_min": (
        lambda o: optim.CosineAnnealingLR(o, 7, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, 7, 0.01), 7,
    ),
    **{
        f"OneCycleLR, {strategy}, {total_steps} steps": (
            lambda o, n=total_steps, a=strategy: optim.OneCycleLR(o, 2.0, n, anneal_strategy=a),
            lambda o, n=total_steps, a=strategy: lr_scheduler.OneCycleLR(o, 2.0, n, anneal_strategy=a),
            total_steps - 1,
        )
        for strategy in ("cos", "linear")
        for total_steps in (10, 33)
    },
    "OneCycleLR, all settings": (
        lambda o: optim.OneCycleLR(o, 2.0, 20, 0.5, "linear", 5.0, 100.0),
        lambda o: lr_scheduler.OneCycleLR(
            o, 2.0, 20, pct_start=0.5, anneal_strategy="linear", div_factor=5.0, final_div_factor=100.0
        ),
        19,
    ),
    "LinearWarmup": (
        lambda o: optim.LinearWarmup(o, 5), lambda o: lr_scheduler.LinearLR(o, 1 / 5, total_iters=4), 12,
    ),
    "LinearWarmup, then CosineAnnealingLR": (
        lambda o: optim.LinearWarmup(o, 5, after=optim.CosineAnnealingLR(o, 8)),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 1 / 5, total_iters=4), lr_scheduler.CosineAnnealingLR(o, 8)], [5]
        ),
        12,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_learning_rates(name):
    ours, theirs, steps = CASES[name]
    optimizer = optim.SGD([Parameter([1.0])], lr=LR)
    their_optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that steps of schedules come before those of optimizers
        schedule, their_schedule = ours(optimizer), theirs(their_optimizer)
        for step in range(steps + 1):
            their_lr = their_optimizer.param_groups[0]["lr"]
            np.testing.assert_allclose(optimizer.lr, their_lr, rtol=1e-9, atol=1e-12, err_msg=f"after {step} steps")
            np.testing.assert_allclose(schedule.get_last_lr(), their_schedule.get_last_lr(), rtol=1e-9, atol=1e-12)
            if step < steps:
                schedule.step()
                their_optimizer.step()
                their_schedule.step()


def test_every_schedule_is_compared():
    schedules = {name for name in optim.__all__ if issubclass(getattr(optim, name), optim.Schedule)}
    assert {name.split(",")[0] for name in CASES} == schedules - {"Schedule"}
