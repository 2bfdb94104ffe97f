"""Prints how fast Needle is beside NumPy and PyTorch, for the work that says most.

    bazel run //benchmarks:headline -- [--only=matmul,lstm_200] [--runs=10] [--json=FILE]
    bazel run //benchmarks:headline_with_pytorch                   # fetches PyTorch first
    bazel run --config=cuda //benchmarks:headline -- --device=cuda --pytorch_python=python3.12

Every contender is a process of its own, and they take turns: contest.py says why.
"""

from __future__ import annotations

from typing import Any

from benchmarks import machine, report
from benchmarks.contest import Contender, compete, start
from benchmarks.headline_rows import ROWS
from benchmarks.program import all_results, chosen_rows, define_flags, everybody, json_file, text_or_error
from benchmarks.row import Row
from experiments.command_line import FLAGS, notice, run_program

PROGRAM = "headline"

define_flags(ROWS, runs=10)


def main() -> str:
    path, contenders = json_file(), everybody()
    rows = chosen_rows(ROWS, contenders)
    load = machine.OtherLoad()
    measured = [_measure(row, contenders) for row in rows]
    results = all_results(PROGRAM, contenders, load, measured)
    if path is not None:
        report.write_json(path, results)
    text = report.text(results, "peak memory", lambda result: f"{result['peak_memory'] / 2**20:,.0f} MiB")
    return text_or_error(text, results)


def _measure(row: Row, contenders: list[Contender]) -> dict[str, Any]:
    """In new processes, so that peak memory is that of this work."""
    notice(f"{row.title} ...")
    sizes = row.sizes_for(FLAGS.quick)
    with start([contender for contender in contenders if contender.takes_part(row)], FLAGS.threads) as workers:
        return report.as_json(row, sizes, *compete(row, sizes, workers, FLAGS.runs))


if __name__ == "__main__":
    run_program(PROGRAM, main)
