"""What a run measures: means over an epoch, without waiting for the device at every step, and their curves."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from needle.autograd import Tensor
from needle.errors import NeedleError

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # hides messages about its caches

_COLOURS = ("#3b6fb6", "#d9772b", "#4f9d69")
_INK = "#333333"
_MEASURES = ("loss", "accuracy", "perplexity")


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


def draw_curves(history: Sequence[dict[str, Any]], title: str) -> bytes:
    """A PNG with one panel per measure and one line per split.

    `history` has one row per epoch and split: epoch, split, and the measures' values, with None for NaN.
    """
    splits = list(dict.fromkeys(row["split"] for row in history))
    measures = [measure for measure in _MEASURES if any(measure in row for row in history)]
    figure = Figure(figsize=(5.2 * len(measures), 3.9), dpi=140, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11, color=_INK)
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures):
        for split, colour in zip(splits, _COLOURS):
            _draw_line(axes, [row for row in history if row["split"] == split], measure, split, colour)
        _style(axes, measure)
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    return png.getvalue()


def _draw_line(axes: Axes, rows: Sequence[dict[str, Any]], measure: str, split: str, colour: str) -> None:
    epochs = [row["epoch"] for row in rows]
    values = [math.nan if row.get(measure) is None else row[measure] for row in rows]
    last = next((value for value in reversed(values) if math.isfinite(value)), math.nan)
    label = f"{split}  {last:.1%}" if measure == "accuracy" else f"{split}  {last:.3f}"
    marker = "o" if len(rows) <= 40 else None
    axes.plot(epochs, values, color=colour, linewidth=1.8, marker=marker, markersize=3.5, label=label)


def _style(axes: Axes, measure: str) -> None:
    axes.set_title(measure, loc="left", fontsize=10, color=_INK)
    axes.set_xlabel("epoch", fontsize=9, color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if measure == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(labelsize=8.5, colors=_INK, length=0)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor", handlelength=1.2)
