"""Results as JSON objects, and those as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import Result, ratio_to_best_peer
from benchmarks.machine import DISTURBED
from benchmarks.row import Row, Sizes
from needle.checkpoint import write_atomically


def as_json(
    row: Row, sizes: Sizes, results: list[Result], failures: Sequence[str] = (), absent: Sequence[str] = ()
) -> dict[str, Any]:
    """A row's results: seconds per call, amounts per second at the median, and for ours the ratio to the best peer."""
    amounts = row.amounts(**sizes)
    return {
        "row": row.name,
        "title": row.title,
        "sizes": sizes,
        "amounts": amounts,
        "dtype": row.dtype,
        "failures": list(failures),
        "absent": list(absent),
        "results": [
            {
                "contender": result.contender.name,
                "ours": result.contender.ours,
                "device": result.contender.device,
                "min": min(result.seconds),
                "median": result.median,
                "max": max(result.seconds),
                "runs": len(result.seconds),
                "per_second": {unit: amount / result.median for unit, amount in amounts.items()},
                "peak_memory": result.peak_memory,
                "ratio_to_best_peer": ratio_to_best_peer(result, results) if result.contender.ours else None,
            }
            for result in results
        ],
    }


def heading(report: dict[str, Any]) -> list[str]:
    """What the figures were measured on."""
    machine, load = report["machine"], report["other_load"]
    threads = ", ".join(f"{name} {count}" for name, count in report["threads"].items())
    lines = [
        f"machine   {machine['processor']}, {machine['cores']} cores, L3 {machine['l3_cache']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}",
        *(f"gpu       {gpu}" for gpu in machine["gpus"]),
        f"threads   {threads}",
        f"versions  Python {machine['python']}; " + "; ".join(" ".join(pair) for pair in report["versions"].items()),
        f"runs      {report['runs']} after warm-up, the contenders in turn",
    ]
    if "torch" not in report["versions"]:
        lines.append("          PyTorch is not there: --pytorch_python, or run //benchmarks:headline_with_pytorch")
    if report["quick"]:
        lines.append("QUICK     tiny sizes, whatever the titles say: these figures mean nothing")
    if load > DISTURBED:
        lines.append(f"DISTURBED other programs used {load:.1f} cores meanwhile: these figures mean little")
    return lines


def text(
    report: dict[str, Any], column: str, cell: Callable[[dict[str, Any]], str], more_heading: Iterable[str] = ()
) -> str:
    """Heading and table, whose column of that name has `cell` of each result."""
    lines = []
    for row in report["rows"]:
        lines.append([row["title"]])
        for result in row["results"]:
            times = [duration(result[which]) for which in ("min", "median", "max")]
            lines.append(["  " + result["contender"], *times, rate(result), cell(result), ratio(result)])
        lines += [[f"  FAILED: {failure}"] for failure in row["failures"]]
        lines += [[f"  absent: {reason}"] for reason in row["absent"]]
    head = ["", "min", "median", "max", "rate", column, "speed, best peer = 1"]
    return "\n".join([*heading(report), *more_heading, "", *table(head, lines)])


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Writes the file, see `write_atomically`."""
    write_atomically(path, (json.dumps(report, indent=2) + "\n").encode())


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    """Text in columns, the first one flush left. A line of one cell is a title, and as long as it likes."""
    full = [head, *(line for line in lines if len(line) > 1)]
    widths = [max(map(len, column)) for column in zip(*full)]

    def aligned(line: list[str]) -> list[str]:
        return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]

    return ["  ".join(line if len(line) == 1 else aligned(line)).rstrip() for line in [head, *lines]]


def duration(seconds: float) -> str:
    unit, size = ("s", 1) if seconds >= 0.9995 else ("ms", 1e-3) if seconds >= 0.9995e-3 else ("us", 1e-6)
    return f"{number(seconds / size)} {unit}"


def rate(result: dict[str, Any]) -> str:
    """The first amount per second, or nothing."""
    return next((f"{number(value)} {unit}/s" for unit, value in result["per_second"].items()), "")


def number(value: float) -> str:
    """Three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(result: dict[str, Any]) -> str:
    value = result["ratio_to_best_peer"]
    return "" if value is None else f"{value:.2f} x"
