"""Where a program's choices come from: hypothesis, which shrinks what fails, or a seed, which is ten times as fast.

The grammar (program.py and the tables beside it) asks for integers alone, the plainest choice first, so that both
sources give the same programs.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


class Choices:
    """What a program is made of."""

    def integer(self, low: int, high: int) -> int:
        """One of low..high, ends included."""
        raise NotImplementedError

    def pick(self, options: Sequence) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent


class Seeded(Choices):
    """Choices by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))


@functools.lru_cache
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


class Drawn(Choices):
    """Choices by hypothesis' `data()`."""

    def __init__(self, data) -> None:
        self._draw = data.conjecture_data.draw

    def integer(self, low: int, high: int) -> int:
        return low if low == high else self._draw(_integers(low, high))
