"""What all contenders are given: the same numbers, so that tests can compare what they make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal, float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def integers(*shape: int, below: int, seed: int = 0) -> np.ndarray:
    """Whole numbers, int64, uniform on 0..below-1."""
    return np.random.default_rng(seed).integers(below, size=shape)


def chain_of_8(x: Any, y: Any, tanh: Callable, exp: Callable) -> Any:
    """Eight element-wise operations: two multiplications, one by a number, and so on."""
    return exp(tanh(x * y + x) * 0.5 + 0.5) * y - x


def reduced_axis(axis: int) -> int | None:
    """Of a matrix: 0 for columns, 1 for rows; 2 stands for all."""
    return None if axis == 2 else axis
