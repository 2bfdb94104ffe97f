"""Means over an epoch, without waiting for the device at every step."""

from __future__ import annotations

import math

from needle.autograd import Tensor
from needle.errors import NeedleError


class NonFiniteLoss(NeedleError):
    """A loss that is NaN or infinite, from which training does not come back."""


class RunningMean:
    """The mean of what was added so far. `float(mean)` is its value; it may also be given to a progress bar as it is.

    Tensors that are added are kept, and read when the mean is asked for or when `READ_EVERY` of them have gathered. By
    then the device has long finished most of them, so that reading them makes nobody wait.
    """

    READ_EVERY = 50

    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0
        self._unread: list[tuple[Tensor | float, int]] = []
        self._additions_read = 0
        self._first_not_finite: tuple[int, float] | None = None

    def add(self, total: Tensor | float, count: int) -> None:
        """Adds `count` values whose sum is `total`, a number or a Tensor of one element."""
        self._unread.append((total, count))
        if len(self._unread) == self.READ_EVERY:
            self._read()

    def __float__(self) -> float:
        """The mean; NaN where nothing was added."""
        self._read()
        return self._total / self.count if self.count else math.nan

    def check_finite(self, steps_before: int = 0) -> None:
        """Raises NonFiniteLoss if one of the sums that have been read was not finite; it names the first one's step.

        `steps_before` is the number of steps that were made before the first addition.
        """
        if self._first_not_finite is not None:
            addition, value = self._first_not_finite
            raise NonFiniteLoss(f"the loss is {value} at step {steps_before + addition}")

    def _read(self) -> None:
        for total, count in self._unread:
            value = float(total)
            self._additions_read += 1
            if not math.isfinite(value) and self._first_not_finite is None:
                self._first_not_finite = self._additions_read, value
            self._total += value
            self.count += count
        self._unread.clear()


class Perplexity:
    """exp of a mean cross-entropy in nats: among how many equally likely words a model in effect has to guess.

    `float(perplexity)` is its value, infinite where the exponential is beyond a float; a progress bar takes it too.
    """

    def __init__(self, mean_loss: RunningMean | float) -> None:
        self.mean_loss = mean_loss

    def __float__(self) -> float:
        try:
            return math.exp(float(self.mean_loss))
        except OverflowError:
            return math.inf
