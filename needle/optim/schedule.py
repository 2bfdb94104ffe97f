"""Schedules: the learning rate as a function of the number of steps.

    schedule = CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        train_epoch(...)
        schedule.step()

A step is whatever lies between two calls of `step`: an epoch or a batch. Below, lr is the optimizer's learning rate
when the schedule was created, and t the number of steps since.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from needle.backend_ndarray.arguments import choice, real, whole
from needle.backend_ndarray.recording import act, live
from needle.backend_ndarray.shape import as_ints
from needle.errors import CheckpointError, short
from needle.optim.optimizer import Optimizer
from needle.state_dict import check_names


class Schedule:
    """Sets `optimizer.lr` to `lr_at(t)`: immediately for t = 0, then at every step. A subclass defines `lr_at`."""

    live_attributes = ("_last_step",)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: a {type(optimizer).__name__}: expected an Optimizer")
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self._last_step = 0
        optimizer.lr = self.lr_at(0)

    @property
    def last_step(self) -> int:
        """The number of steps made."""
        return live(lambda: self._last_step)  # type: ignore[return-value]  # a Live while recording

    def lr_at(self, t: int) -> float:
        """The learning rate after t steps."""
        raise NotImplementedError(f"{type(self).__name__} defines no lr_at")

    def step(self) -> None:
        """Counts a step and sets the optimizer's learning rate."""
        act(self._step)

    def _step(self) -> None:
        self._last_step += 1
        self.optimizer.lr = self.lr_at(self._last_step)

    def get_last_lr(self) -> list[float]:
        """The learning rate that was set last, in a list as in PyTorch, which may have several."""
        return [live(lambda: self.lr_at(self._last_step))]  # type: ignore[list-item]  # a Live while recording

    def state_dict(self) -> dict[str, float | int]:
        """The base learning rate and the number of steps made."""
        return {"base_lr": self.base_lr, "last_step": self.last_step}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Restores the result of `state_dict` and sets the optimizer's learning rate. Raises CheckpointError."""
        where = f"{type(self).__name__}.load_state_dict"
        check_names(where, state, self.state_dict())
        base_lr = real(where, "base_lr", state["base_lr"], 0, error=CheckpointError)
        last_step = whole(where, "last_step", state["last_step"], error=CheckpointError)
        self.base_lr, self._last_step = float(base_lr), last_step
        self.optimizer.lr = self.lr_at(last_step)

    def _check_steps(self, **counts: int) -> None:
        for name, count in counts.items():
            whole(type(self).__name__, name, count, 1, ValueError)

    def _number(self, name: str, value: float, least: float, most: float | None = None) -> float:
        return real(type(self).__name__, name, value, least, most=most)


class StepLR(Schedule):
    """lr * gamma^floor(t / step_size)"""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self._check_steps(step_size=step_size)
        self.step_size = step_size
        self.gamma = self._number("gamma", gamma, least=0)
        super().__init__(optimizer)

    def lr_at(self, t: int) -> float:
        return self.base_lr * _power(self.gamma, t // self.step_size)


class MultiStepLR(Schedule):
    """lr * gamma^(number of milestones <= t)"""

    def __init__(self, optimizer: Optimizer, milestones: Collection[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(as_ints("MultiStepLR", "milestones", milestones))
        self.gamma = self._number("gamma", gamma, least=0)
        super().__init__(optimizer)

    def lr_at(self, t: int) -> float:
        return self.base_lr * _power(self.gamma, bisect.bisect_right(self.milestones, t))


class CosineAnnealingLR(Schedule):
    """eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2 (Loshchilov and Hutter 2017); eta_min after T_max steps.

    (PyTorch's rises again after that.)
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self._check_steps(T_max=T_max)
        self.T_max = T_max
        self.eta_min = self._number("eta_min", eta_min, least=0)
        super().__init__(optimizer)

    def lr_at(self, t: int) -> float:
        return _cosine(self.base_lr, self.eta_min, min(t / self.T_max, 1))


class OneCycleLR(Schedule):
    """From max_lr / div_factor up to max_lr, then down to max_lr / div_factor / final_div_factor.

    (Smith and Topin 2019.) The first part has pct_start * total_steps - 1 steps, both together total_steps - 1, as in
    PyTorch; after them the rate stays constant, whereas PyTorch raises an error. Both parts follow half a cosine, or a
    line with anneal_strategy="linear". The optimizer's own learning rate is ignored, and its momentum does not change.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self._check_steps(total_steps=total_steps)
        choice("OneCycleLR", "anneal_strategy", anneal_strategy, _ANNEAL)
        self.max_lr = self._number("max_lr", max_lr, least=0)
        self.total_steps = total_steps
        self.pct_start = self._number("pct_start", pct_start, least=0, most=1)
        self.anneal_strategy = anneal_strategy
        self.initial_lr = self.max_lr / self._number("div_factor", div_factor, least=1)
        self.final_lr = self.initial_lr / self._number("final_div_factor", final_div_factor, least=1)
        super().__init__(optimizer)

    def lr_at(self, t: int) -> float:
        anneal = _ANNEAL[self.anneal_strategy]
        peak, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if t <= peak:
            return anneal(self.initial_lr, self.max_lr, t / peak if peak else 1)
        return anneal(self.max_lr, self.final_lr, min((t - peak) / (end - peak), 1) if end > peak else 1)


class LinearWarmup(Schedule):
    """lr * (t + 1) / warmup_steps up to lr (Goyal et al. 2017); then constant, or the schedule `after` takes over.

    In `LinearWarmup(optimizer, 500, after=CosineAnnealingLR(optimizer, 9500))`, the cosine counts from the end of the
    warmup. lr is the rate at which `after` begins. Step and save only the LinearWarmup.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int, after: Schedule | None = None) -> None:
        self._check_steps(warmup_steps=warmup_steps)
        if after is not None and not isinstance(after, Schedule):
            raise TypeError(f"LinearWarmup: after of {short(after)}: expected a Schedule")
        self.warmup_steps = warmup_steps
        self.after = after
        super().__init__(optimizer)

    def lr_at(self, t: int) -> float:
        if self.after is None:
            return self.base_lr * min((t + 1) / self.warmup_steps, 1)
        if t < self.warmup_steps:
            return self.after.lr_at(0) * (t + 1) / self.warmup_steps
        return self.after.lr_at(t - self.warmup_steps)

    def state_dict(self) -> dict[str, Any]:
        """The state of this schedule and of `after`."""
        return super().state_dict() | ({} if self.after is None else {"after": self.after.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of `state_dict` and sets the optimizer's learning rate. Raises CheckpointError."""
        check_names("LinearWarmup.load_state_dict", state, self.state_dict())
        if self.after is not None:
            self.after.load_state_dict(state["after"])
        super().load_state_dict(state)


def _cosine(start: float, end: float, fraction: float) -> float:
    """Goes from start to end along half a cosine period as `fraction` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _linear(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction


_ANNEAL = {"cos": _cosine, "linear": _linear}


def _power(base: float, exponent: int) -> float:
    """base^exponent, or infinity where Python raises OverflowError."""
    with np.errstate(over="ignore"):
        return float(np.float64(base) ** exponent)
