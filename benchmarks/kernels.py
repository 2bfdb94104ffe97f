"""Prints how fast each kernel is: beside NumPy and PyTorch, and beside what this machine can do at most.

    bazel run //benchmarks:kernels -- [--only='conv*'] [--runs=10] [--json=FILE] [--plots=DIR]

A kernel is bound by what takes longer, its arithmetic at the machine's peak or its memory traffic at the machine's
bandwidth; machine.py measures both. Traffic is what must be moved at the least (kernel_rows.py): work that fits into
the caches can be faster than that bound, and its share is then above 100%.
"""

from __future__ import annotations

from absl import flags

from benchmarks import machine, plots, report
from benchmarks.contest import compete, start
from benchmarks.kernel_rows import ROWS
from benchmarks.program import all_results, chosen_rows, define_flags, everybody, json_file, text_or_error
from experiments.command_line import FLAGS, notice, run_program, user_path

PROGRAM = "kernels"

define_flags(ROWS, runs=10)
flags.DEFINE_string("plots", None, "Folder for the plots, ratio_cpu.png, roofline_cpu.png and so on.")


def main() -> str:
    path, contenders = json_file(), everybody()
    rows = chosen_rows(ROWS, contenders)
    contenders = [contender for contender in contenders if any(contender.takes_part(row) for row in rows)]
    folder = None if FLAGS.plots is None else user_path(FLAGS.plots)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    load = machine.OtherLoad()
    measured = []
    with start(contenders, FLAGS.threads) as workers:
        notice("peaks of this machine ...")
        peaks = machine.measure_peaks(workers, FLAGS.quick)
        for row in rows:
            notice(f"{row.title} ...")
            sizes = row.sizes_for(FLAGS.quick)
            measured.append(report.as_json(row, sizes, *compete(row, sizes, workers, FLAGS.runs)))
            machine.add_share_of_bound(measured[-1], peaks)
    results = all_results(PROGRAM, contenders, load, measured, peaks=peaks)
    if path is not None:
        report.write_json(path, results)
    for device in peaks if folder is not None else ():
        plots.draw_ratios(results, device, folder / f"ratio_{device}.png")
        plots.draw_roofline(results, device, folder / f"roofline_{device}.png")
    reached = [
        f"peak      {report.number(peak['per_second'])} {unit.split()[0]}/s, {peak['by']}: {peak['how']}"
        for units in peaks.values()
        for unit, peak in units.items()
    ]
    text = report.text(results, "share of bound", lambda result: f"{result['share_of_bound']:.0%}", reached)
    return text_or_error(text, results)


if __name__ == "__main__":
    run_program(PROGRAM, main)
