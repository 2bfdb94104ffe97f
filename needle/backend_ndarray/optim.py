"""Optimizer updates, in place, one call for many parameters. Formulas: kernel_table.py.

The parameters of a call have one device and one dtype; every other list has an array of the same shape for each of them.
"""

from __future__ import annotations

from needle.backend_ndarray.dispatch import call


def sgd_step(parameters, grads, velocities, lr: float, momentum: float, dampening: float, weight_decay: float,
             nesterov: bool) -> None:  # fmt: skip
    """Stochastic gradient descent; `velocities` is not looked at where momentum is 0."""
    arrays = (parameters, grads, velocities)
    call(parameters[0].device, "sgd_step", *arrays, lr, momentum, dampening, weight_decay, nesterov)


def adam_step(parameters, grads, first_moments, second_moments, lr: float, beta1: float, beta2: float, eps: float,
              weight_decay: float, decoupled: bool, step: int) -> None:  # fmt: skip
    """Adam, or AdamW where weight decay is decoupled; `step` counts from 1."""
    arrays = (parameters, grads, first_moments, second_moments)
    call(parameters[0].device, "adam_step", *arrays, lr, beta1, beta2, eps, weight_decay, decoupled, step)
