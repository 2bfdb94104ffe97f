"""Optimizer updates, in place, one call for many parameters. Formulas: kernel_table.py.

The parameters of a call have one device and one dtype. Every other list has one array of the same shape per parameter,
except `only_if_finite`: it is empty or holds one float32 or float64 number on that device. If the number is infinite or
NaN, nothing changes. The device itself checks it, so the host does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from needle.backend_ndarray import changes
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray


def sgd_step(parameters: list[NDArray], grads: list[NDArray], velocities: list[NDArray], lr: float, momentum: float,
             dampening: float, weight_decay: float, nesterov: bool,
             only_if_finite: Sequence[NDArray] = ()) -> None:  # fmt: skip
    """Stochastic gradient descent; `velocities` is ignored if momentum is 0."""
    arrays = (parameters, grads, velocities)
    settings = (lr, momentum, dampening, weight_decay, nesterov)
    call(parameters[0].device, "sgd_step", *arrays, *settings, list(only_if_finite))
    _mark(parameters)


def adam_step(parameters: list[NDArray], grads: list[NDArray], first_moments: list[NDArray],
              second_moments: list[NDArray], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
              decoupled: bool, step: int, only_if_finite: Sequence[NDArray] = ()) -> None:  # fmt: skip
    """Adam, or AdamW if weight decay is decoupled; `step` counts from 1."""
    arrays = (parameters, grads, first_moments, second_moments)
    settings = (lr, beta1, beta2, eps, weight_decay, decoupled, step)
    call(parameters[0].device, "adam_step", *arrays, *settings, list(only_if_finite))
    _mark(parameters)


def _mark(parameters: list[NDArray]) -> None:
    for parameter in parameters:
        changes.mark(parameter)
