"""Measures our kernels against a library's, and writes which are taken: the two files choice_table.inc.

    bazel run //benchmarks:choose_kernels -- [--levels=baseline,avx2] [--kernels='conv*'] [--results=FILE] [--passes=2]
    bazel run --config=cuda //benchmarks:choose_kernels -- --device=cuda

On the CPU the library is oneDNN, on a GPU cuBLAS and cuDNN. For each instruction level of the CPU, kernel and class of
shapes (both provider.h say what the classes are) it times calls that networks make, in float32 and bfloat16, both
providers in turn, and takes the ratio of their times in each round. The library wins a call clearly where the median
ratio is above 1.05 and three quarters of the rounds are above 1. Of all ranges of work the program takes the one in
which the library saves most, the sum of log(ratio) - 0.05 over its calls, wins that are not clear counting as nothing;
there must be two clear wins in it at least, and two thirds of its calls must be.

It works in pieces of some 20 seconds. One during which other programs used more than a tenth of a core, or while a GPU
is measured half of the cores, is not counted but repeated, and after three attempts the program gives up. With
--results the rounds of each piece are kept in a file, to which further runs, of other levels or kernels or of the same,
add theirs; the table is made of all that is in it. Levels and kernels that have not been measured keep their lines. The
table is part of the next build.

Batch normalization in training stays ours, though oneDNN's may be faster on an idle machine: its threads wait for each
other in the middle of it, and where another program has one of the cores it takes several times as long as ours.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.choice_cases import Cases
from benchmarks.choice_table import CUDA, Measurement, merged, new_table
from benchmarks.machine import DISTURBED, OtherLoad, describe
from experiments.command_line import FLAGS, notice, run_program, user_path
from needle.backend_ndarray import Device, cpu, cuda
from needle.checkpoint import write_atomically
from needle.errors import DeviceError, NeedleError

LEVELS = ["baseline", "avx2", "avx512"]
SECONDS = 0.2  # of timing for each call
ROUNDS = (7, 100)  # at least, at most
ATTEMPTS = 3  # to find the machine at rest

flags.DEFINE_enum("device", "cpu", ["cpu", "cuda"], "Whose kernels to measure.")
flags.DEFINE_list("levels", None, "Instruction levels of the CPU to measure; by default all of this machine.")
flags.DEFINE_list("kernels", ["*"], "Names of the kernels to measure, or patterns such as 'conv*'.")
flags.DEFINE_integer("passes", 2, "How often all is measured.", lower_bound=1)
flags.DEFINE_string("results", None, "File of measurements to add to; by default only those of this run count.")
flags.DEFINE_string("table", None, "The file to write; by default the device's in the checkout.")
flags.DEFINE_bool("allow_disturbed", False, "Count pieces that other programs disturbed, to see whether all works.")
flags.DEFINE_bool("quick", False, "Take tiny sizes, which say nothing about speed, to see whether all works.")
flags.DEFINE_string("measure", None, "Print the measurements of a piece at this process's level, and do nothing else.")
flags.register_validator(
    "levels", lambda levels: levels is None or set(levels) <= set(LEVELS), f"expected some of {', '.join(LEVELS)}"
)


class DisturbedError(NeedleError):
    """Other programs were at work."""


class Target:
    """A device whose kernels a library has, too, and how its providers are called and timed."""

    def __init__(self, device: Device) -> None:
        """Raises DeviceError where the device or its library cannot be used."""
        self.device = device
        self.is_cpu = device.name == "cpu"
        self.library, self.name = ("onednn", "oneDNN") if self.is_cpu else ("library", "NVIDIA's")
        self.table = f"kernels/{'dnnl' if self.is_cpu else 'cuda/libraries'}/choice_table.inc"
        # A round lasts that long; shorter calls are repeated in it. A GPU's ends in a wait, which should hardly count.
        self.shortest = 2e-4 if self.is_cpu else 2e-3
        # A GPU's work takes one core; a CPU's takes all.
        self.disturbed = DISTURBED if self.is_cpu else describe()["cores"] / 2
        kernels = device.kernels
        if self.is_cpu and "onednn" not in kernels.providers():
            raise DeviceError(kernels.onednn_status())
        self.set_provider = kernels.set_provider if self.is_cpu else kernels.backend.set_provider
        self.library_calls = kernels.onednn_calls if self.is_cpu else kernels.backend.library_calls
        self._wait = None if self.is_cpu else kernels.synchronize

    def levels(self) -> list[str]:
        return self.device.kernels.levels() if self.is_cpu else [CUDA]

    def level(self) -> str:
        return self.device.kernels.level() if self.is_cpu else CUDA

    def time(self, call: Callable[[], object], provider: str, calls: int) -> float:
        """Seconds of a call, of so many one after the other."""
        self.set_provider(provider)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if self._wait is not None:
            self._wait()
        return (time.perf_counter() - start) / calls

    def header(self) -> str:
        """What the table begins with."""
        if self.is_cpu:
            where = f"with {self.device.kernels.get_num_threads()} threads on {describe()['processor']}"
        else:
            where = f"on {(describe()['gpus'] or self.device.kernels.backend.device_names())[0]}"
        whose, level = ("oneDNN is", "level, ") if self.is_cpu else ("NVIDIA's libraries are", "")
        quick = "// QUICK: tiny sizes, which say nothing about speed.\n" if FLAGS.quick else ""
        return (
            f"// Written by benchmarks/choose_kernels.py: where {whose} taken, from <= work < to, and how much\n"
            f"// faster it was there, geometric mean of medians. Measured {where}.\n{quick}//\n"
            f"// NEEDLE_CHOICE({level}kernel, class of shapes, from, to)\n"
        )


def chosen_target() -> Target:
    return Target(cpu() if FLAGS.device == "cpu" else cuda())


def measure(target: Target, piece: str, kernels: list[str]) -> Iterator[Measurement]:
    """A piece's cases, of kernels by these patterns, at this process's level."""
    for case in Cases(target.device, FLAGS.quick).pieces[piece]():
        if _is_wanted(case.kernel, kernels):
            before = target.library_calls()[case.kernel]
            native, library = _seconds(target, case.call)
            is_library = target.library_calls()[case.kernel] > before
            yield Measurement(target.level(), *case[:4], is_library, native, library)


def _is_wanted(kernel: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(kernel, pattern) for pattern in patterns)


def _seconds(target: Target, call: Callable[[], object]) -> list[list[float]]:
    """Seconds of a call from each provider, in each round; who comes first changes from round to round."""
    providers = ["native", target.library]
    # The first calls make primitives and look for algorithms. A GPU's call alone is mostly the wait for it.
    warm = [min(target.time(call, provider, 1) for _ in range(3)) for provider in providers]
    if not target.is_cpu:
        warm = [target.time(call, provider, 8) for provider in providers]
    calls = max(1, math.ceil(target.shortest / min(warm)))
    seconds = [[] for _ in providers]
    end, rounds = time.perf_counter() + SECONDS * (not FLAGS.quick), 0
    while rounds < ROUNDS[0] or (time.perf_counter() < end and rounds < ROUNDS[1]):
        for i in (0, 1) if rounds % 2 else (1, 0):
            seconds[i].append(target.time(call, providers[i], calls))
        rounds += 1
    return seconds


def _measure_undisturbed(level: str, piece: str, disturbed: float) -> list[Measurement]:
    """`measure` in a process of that level, repeated if others used more cores than that. Raises DisturbedError.

    oneDNN's instructions are settled when it is loaded, so each level has a process of its own.
    """
    kernels = ",".join(FLAGS.kernels)
    command = [sys.executable, "-m", "benchmarks.choose_kernels", f"--measure={piece}", f"--kernels={kernels}"]
    command += [f"--device={FLAGS.device}", f"--quick={FLAGS.quick}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if level != CUDA:
        environment["NEEDLE_CPU_LEVEL"] = level
    for _ in range(ATTEMPTS):
        notice(f"{level}, {piece} ...")
        load = OtherLoad()
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if result.returncode:
            raise DeviceError(f"the measurement at {level} failed")
        cores = load.cores()
        if cores <= disturbed or FLAGS.allow_disturbed:
            return [Measurement(*values) for values in json.loads(result.stdout)]
        notice(f"other programs used {cores:.2f} cores meanwhile: this does not count")
    raise DisturbedError(f"{level}, {piece}: disturbed {ATTEMPTS} times; try again when the machine is idle")


def _report(library: str, measurements: list[Measurement]) -> Iterator[str]:
    yield f"milliseconds, ours and {library}; ours / {library}: lower quartile, median; * where the latter is clear"
    for m in measurements:
        times = f"{np.median(m.native) * 1e3:>10.3f}{np.median(m.library) * 1e3:>10.3f}"
        ratios = f"{m.quantile(0.25):>7.2f}{m.ratio:>7.2f}{' *' if m.is_clear else ''}"
        call = f"  {m.level:<9}{m.kernel:<24}{m.shape_class:<13}{m.text:<42}"
        yield call + (times + ratios if m.is_library else f"  not by {library}")


def _read_results(path: Path | None) -> list[Measurement]:
    text = path.read_text() if path is not None and path.exists() else ""
    return [Measurement(*values) for values in json.loads(text or "[]")]


def main() -> str:
    target = chosen_target()
    if FLAGS.measure:
        return json.dumps(list(measure(target, FLAGS.measure, FLAGS.kernels)))
    kernels = list(target.library_calls())
    if not any(_is_wanted(kernel, FLAGS.kernels) for kernel in kernels):
        raise NeedleError(f"no kernel of {target.name} is called {', '.join(FLAGS.kernels)}")
    if FLAGS.levels and not target.is_cpu:
        raise NeedleError("--levels: only the CPU has instruction levels")
    path = user_path(FLAGS.table or target.table)
    results = None if FLAGS.results is None else user_path(FLAGS.results)
    for file in filter(None, (path, results)):  # fails now, not after all the work
        file.open("a").close()
    measurements = _read_results(results)
    for _ in range(FLAGS.passes):
        for level in FLAGS.levels or target.levels():
            for piece in Cases(target.device).pieces:
                measurements = merged(measurements + _measure_undisturbed(level, piece, target.disturbed))
                if results is not None:
                    write_atomically(results, json.dumps(measurements).encode())
    levels = LEVELS if target.is_cpu else [CUDA]
    table = new_table(path.read_text(), measurements, target.header(), levels, kernels)
    write_atomically(path, table.encode())
    return "\n".join([*_report(target.name, measurements), f"wrote {path}"])


if __name__ == "__main__":
    run_program("choose_kernels", main)
