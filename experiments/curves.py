"""The learning curves of a run, as a picture."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # hides messages about its caches

_COLOURS = ("#3b6fb6", "#d9772b", "#4f9d69")
_INK = "#333333"
_MEASURES = ("loss", "accuracy", "perplexity")


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
