"""Results as pictures: the ratio to the best peer, and a roofline."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.report import number
from needle.checkpoint import write_atomically

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells about its caches

_COLOURS = ("#3b6fb6", "#d9772b", "#4f9d69", "#8a5fa8", "#a0522d", "#777777")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK = "#333333"


def draw_ratios(results: dict[str, Any], device: str, path: Path) -> None:
    """A line for each row: how many times as fast as the best peer each contender of ours is, on a logarithmic axis.

    Both there, on this device.

    The number on the right is of the last contender, which is the default.
    """
    rows = [row for row in _rows_of_ours(results, device) if any(r["ratio_to_best_peer"] for r in row["results"])]
    names = _names_of_ours(rows)
    figure = Figure(figsize=(8.5, 1.5 + 0.17 * len(rows)), dpi=140, layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(names):
        points = [
            (result["ratio_to_best_peer"], place)
            for place, row in enumerate(rows)
            for result in row["results"]
            if result["contender"] == name
        ]
        axes.plot(*zip(*points), linestyle="none", markersize=5, alpha=0.8, label=name, **_point_style(index))
    for place, row in enumerate(rows):
        ratios = [result["ratio_to_best_peer"] for result in row["results"]]
        axes.hlines(place, min(ratios), max(ratios), color=_INK, linewidth=0.5, zorder=1)
        axes.annotate(
            f"{ratios[-1]:.2f}", (1, place), (4, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            va="center", fontsize=7, color=_INK, annotation_clip=False,
        )  # fmt: skip
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("times as fast as the best peer, by medians (right of 1: Needle is faster)")
    _style(axes)
    _finish(figure, results, path)


def draw_roofline(results: dict[str, Any], device: str, path: Path) -> None:
    """A point for each row with arithmetic to count and each contender of ours, under the two bounds.

    On this device, in float32. x: floating-point operations per byte that must be moved; y: operations per second. The
    bounds are the measured peak (flat) and the measured bandwidth (sloped).
    """
    rows = [row for row in _rows_of_ours(results, device) if "GFLOP" in row["amounts"] and row["dtype"] == "float32"]
    peaks = results["peaks"][device]
    peak, bandwidth = (peaks[unit]["per_second"] for unit in ("GFLOP", "GB"))
    figure = Figure(figsize=(8.5, 5.6), dpi=140, layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(_names_of_ours(rows)):
        points = [
            (row["amounts"]["GFLOP"] / row["amounts"]["GB"], result["per_second"]["GFLOP"])
            for row in rows
            for result in row["results"]
            if result["contender"] == name
        ]
        axes.plot(*zip(*points), linestyle="none", markersize=5, alpha=0.8, label=name, **_point_style(index))
    intensities = [row["amounts"]["GFLOP"] / row["amounts"]["GB"] for row in rows] + [peak / bandwidth]
    ends = [min(intensities) / 2, peak / bandwidth, max(intensities) * 2]
    axes.plot(ends, [min(peak, bandwidth * end) for end in ends], color=_INK, linewidth=1.2)
    bounds = f"bounds: {number(peak)} GFLOP/s ({peaks['GFLOP']['how']}), {number(bandwidth)} GB/s (copy)"
    axes.annotate(bounds, (0.02, 0.97), xycoords="axes fraction", va="top", fontsize=8, color=_INK)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=peak * 2.5)
    axes.set_xlabel("FLOP per byte of operands and results")
    axes.set_ylabel("GFLOP/s")
    for row in rows:
        best = max(row["results"], key=lambda r: r["per_second"]["GFLOP"])
        if best["share_of_bound"] < 0.4:  # the ones to work on
            place = (row["amounts"]["GFLOP"] / row["amounts"]["GB"], best["per_second"]["GFLOP"])
            label = row["row"].replace("_", " ")
            axes.annotate(label, place, (5, -2), textcoords="offset points", fontsize=6, color=_INK)
    _style(axes)
    _finish(figure, results, path)


def _rows_of_ours(results: dict[str, Any], device: str) -> list[dict[str, Any]]:
    """The rows that our contenders on this device have results for, with these alone."""
    rows = [
        row | {"results": [r for r in row["results"] if r["ours"] and r["device"] == device]} for row in results["rows"]
    ]
    return [row for row in rows if row["results"]]


def _names_of_ours(rows: list[dict[str, Any]]) -> list[str]:
    """Our contenders that have results, in their order."""
    return list(dict.fromkeys(r["contender"] for row in rows for r in row["results"]))


def _point_style(index: int) -> dict[str, str]:
    return {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def _finish(figure: Figure, results: dict[str, Any], path: Path) -> None:
    """Writes the picture, see `write_atomically`."""
    machine, versions = results["machine"], results["versions"]
    peers = ", ".join(f"{name} {versions[name].split(',')[0]}" for name in versions if name != "needle")
    title = f"{machine['processor']}, {machine['cores']} cores; Needle {versions['needle']}; {peers}"
    figure.suptitle(title, x=0.012, ha="left", fontsize=9, color=_INK)
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    write_atomically(path, png.getvalue())
