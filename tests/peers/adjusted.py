"""PyTorch's functions with a difference applied that differences.py announces, so that all the rest can be compared."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def sign(a: torch.Tensor) -> torch.Tensor:
    """NaN where a is. ("sign of NaN")"""
    return torch.where(a.isnan(), a.detach(), torch.sign(a))


def power(a: torch.Tensor, number: float) -> torch.Tensor:
    """By the power function for 0.5 and -0.5, too. ("powers 0.5 and -0.5")"""
    return a ** (torch.full_like(a, number) if number in (0.5, -0.5) else number)


def number_divided(number: float, a: torch.Tensor) -> torch.Tensor:
    """number / a without a reciprocal. ("a number divided by a tensor")"""
    return torch.full_like(a, number) / a


def gelu(a: torch.Tensor) -> torch.Tensor:
    """With its limits at infinities, and right far below 0. ("gelu at infinities", "gelu far below 0")"""
    limit = a.isinf() | (a < -50)
    below = ~limit & (a < -1)
    inside = torch.where(below, _gelu_below(torch.where(below, a, -1)), F.gelu(torch.where(below | limit, 0, a)))
    return torch.where(limit, torch.relu(torch.where(limit, a, 0)), inside)


def _gelu_below(a: torch.Tensor) -> torch.Tensor:
    """a / 2 * erfc(t), t = -a / sqrt(2), as erfcx(t) e^(-a^2 / 2): neither underflows before the result does."""
    wide = a.to(torch.promote_types(a.dtype, torch.float32))
    return (0.5 * wide * torch.special.erfcx(wide * -math.sqrt(0.5)) * torch.exp(-wide * wide / 2)).to(a.dtype)
