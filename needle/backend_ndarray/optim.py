"""Optimizer updates, in place, each one pass over the parameter and its state. Formulas: kernel_table.py."""

from __future__ import annotations

from needle.backend_ndarray.dispatch import call


def sgd_step(parameter, grad, velocity, lr: float, momentum: float, dampening: float, weight_decay: float,
             nesterov: bool) -> None:  # fmt: skip
    """Stochastic gradient descent; `velocity` is not touched where momentum is 0."""
    call(parameter.device, "sgd_step", parameter, grad, velocity, lr, momentum, dampening, weight_decay, nesterov)


def adam_step(parameter, grad, first_moment, second_moment, lr: float, beta1: float, beta2: float, eps: float,
              weight_decay: float, decoupled: bool, step: int) -> None:  # fmt: skip
    """Adam, or AdamW where weight decay is decoupled; `step` counts from 1."""
    moments = (first_moment, second_moment)
    call(parameter.device, "adam_step", parameter, grad, *moments, lr, beta1, beta2, eps, weight_decay, decoupled, step)
