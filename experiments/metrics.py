"""Means over an epoch, without waiting for the device at every step."""

from __future__ import annotations

import math

from needle.autograd import Tensor
from needle.errors import NeedleError


class NonFiniteLoss(NeedleError):
    """A loss that is NaN or infinite, from which training does not recover."""


class RunningMean:
    """The mean of the values added so far. `float(mean)` is its value; a progress bar also accepts it directly.

    Added Tensors are kept, and read when the mean is needed or when `READ_EVERY` of them have accumulated. By then the
    device has long finished most of them, so reading them hardly waits.
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
        """The mean; NaN if nothing was added."""
        self._read()
        return self._total / self.count if self.count else math.nan

    def check_finite(self, steps_before: int = 0) -> None:
        """Raises NonFiniteLoss, naming the first such step, if a sum that has been read was not finite.

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
    """exp of a mean cross-entropy in nats: the number of equally likely words among which a model in effect guesses.

    `float(perplexity)` is its value, infinite if the exponential overflows; a progress bar accepts it, too.
    """

    def __init__(self, mean_loss: RunningMean | float) -> None:
        self.mean_loss = mean_loss

    def __float__(self) -> float:
        try:
            return math.exp(float(self.mean_loss))
        except OverflowError:
            return math.inf
