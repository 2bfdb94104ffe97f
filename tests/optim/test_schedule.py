"""Schedules against their closed forms, at every step and past the end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from needle.autograd import Parameter
from needle.errors import CheckpointError
from needle.optim import SGD, CosineAnnealingLR, LinearWarmup, MultiStepLR, OneCycleLR, Schedule, StepLR

LR, STEPS = 0.4, 30


def sgd(lr=LR):
    return SGD([Parameter([1.0])], lr=lr)


def cosine(start, end, fraction):
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def one_cycle(t, anneal, peak, end=19, top=2.0, first=2 / 10, last=2 / 10 / 100):
    if t <= peak:
        return anneal(first, top, t / peak)
    return anneal(top, last, (t - peak) / (end - peak)) if t <= end else last


def linear(start, end, fraction):
    return (1 - fraction) * start + fraction * end


FACTORS = {"div_factor": 10, "final_div_factor": 100}
CASES = {
    "StepLR": (lambda o: StepLR(o, 7, gamma=0.5), lambda t: LR * 0.5 ** (t // 7)),
    "MultiStepLR": (
        lambda o: MultiStepLR(o, (12, 5, 5)), lambda t: LR * (1 if t < 5 else 1e-2 if t < 12 else 1e-3),
    ),
    "CosineAnnealingLR": (
        lambda o: CosineAnnealingLR(o, 20, eta_min=0.1), lambda t: cosine(LR, 0.1, t / 20) if t < 20 else 0.1,
    ),
    "OneCycleLR": (
        lambda o: OneCycleLR(o, 2.0, 20, **FACTORS), lambda t: one_cycle(t, cosine, 0.3 * 20 - 1),
    ),
    "OneCycleLR, linear": (
        lambda o: OneCycleLR(o, 2.0, 20, 0.4, "linear", **FACTORS), lambda t: one_cycle(t, linear, 7),
    ),
    "LinearWarmup": (lambda o: LinearWarmup(o, 8), lambda t: LR * min((t + 1) / 8, 1)),
    "LinearWarmup, then cosine": (
        lambda o: LinearWarmup(o, 8, after=CosineAnnealingLR(o, 12)),
        lambda t: LR * (t + 1) / 8 if t < 8 else cosine(LR, 0, min((t - 8) / 12, 1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_closed_form(name):
    make, expected = CASES[name]
    optimizer = sgd()
    schedule = make(optimizer)
    for t in range(STEPS):
        assert optimizer.lr == pytest.approx(expected(t), rel=1e-12, abs=1e-15), t
        assert schedule.get_last_lr() == [optimizer.lr]
        schedule.step()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_saved_schedule_goes_on(name, optimizer_first):
    make, expected = CASES[name]
    optimizer = sgd()
    schedule = make(optimizer)
    for _ in range(11):
        schedule.step()
    saved = schedule.state_dict()

    resumed_optimizer = sgd()
    if optimizer_first:
        resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed = make(resumed_optimizer)
    resumed.load_state_dict(saved)
    assert resumed.state_dict() == saved
    for t in range(11, STEPS):
        assert resumed_optimizer.lr == pytest.approx(expected(t), rel=1e-12, abs=1e-15), t
        resumed.step()


def test_by_hand():
    optimizer = sgd(1.0)
    schedule, met = StepLR(optimizer, 2), []
    for _ in range(5):
        met.append(optimizer.lr)
        schedule.step()
    np.testing.assert_allclose(met, [1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("total_steps, pct_start", [(1, 0.3), (10, 0.0), (10, 0.1), (10, 1.0)])
def test_one_cycle_with_a_part_missing(total_steps, pct_start):
    """Where a part has no steps there is no division by zero, and the rate stays within bounds."""
    optimizer = sgd()
    schedule = OneCycleLR(optimizer, 1.0, total_steps, pct_start)
    for _ in range(2 * total_steps):
        assert 1 / 25 / 1e4 <= optimizer.lr <= 1
        schedule.step()
    assert optimizer.lr == pytest.approx(1 / 25 / 1e4)


@pytest.mark.parametrize("make", [lambda o: StepLR(o, 1, 2.0), lambda o: MultiStepLR(o, range(2000), 2.0)])
def test_a_rate_that_grows_beyond_all_numbers_is_infinite(make):
    assert make(sgd(1.0)).lr_at(1500) == float("inf")


def test_errors():
    with pytest.raises(TypeError, match="StepLR: a float: expected an Optimizer"):
        StepLR(0.1, 3)
    with pytest.raises(ValueError, match="StepLR: step_size of 0: expected a whole number of 1 or more"):
        StepLR(sgd(), 0)
    with pytest.raises(ValueError, match="CosineAnnealingLR: T_max of 0: expected a whole number of 1 or more"):
        CosineAnnealingLR(sgd(), 0)
    with pytest.raises(ValueError, match="LinearWarmup: warmup_steps of -1: expected a whole number of 1 or more"):
        LinearWarmup(sgd(), -1)
    with pytest.raises(ValueError, match="OneCycleLR: total_steps of 0: expected a whole number of 1 or more"):
        OneCycleLR(sgd(), 1.0, 0)
    with pytest.raises(ValueError, match="OneCycleLR: pct_start of 1.5: expected a number of 0 to 1"):
        OneCycleLR(sgd(), 1.0, 10, 1.5)
    with pytest.raises(ValueError, match="OneCycleLR: anneal_strategy 'cosine': expected 'cos' or 'linear'"):
        OneCycleLR(sgd(), 1.0, 10, anneal_strategy="cosine")

    class Nothing(Schedule):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no lr_at"):
        Nothing(sgd())


def test_the_state_of_another_schedule():
    with pytest.raises(CheckpointError, match="StepLR.load_state_dict: missing base_lr: expected"):
        StepLR(sgd(), 3).load_state_dict({"last_step": 3})
