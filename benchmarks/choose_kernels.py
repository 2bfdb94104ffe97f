"""Measures our CPU kernels against oneDNN's, and writes which are taken: kernels/dnnl/choice_table.inc.

    bazel run //benchmarks:choose_kernels -- [--levels=baseline,avx2] [--kernels='conv*'] [--results=FILE] [--passes=2]

For each instruction level, kernel and class of shapes (provider.h says what the classes are) it times calls that
networks make, float32 (products without thin matrices in bfloat16, too), both providers in turn, and takes the ratio of their times in each round. oneDNN wins a call
clearly where the median ratio is above 1.05 and three quarters of the rounds are above 1. Of all ranges of work the
program takes the one in which oneDNN saves most, the sum of log(ratio) - 0.05 over its calls, wins that are not clear
counting as nothing; there must be two clear wins in it at least, and two thirds of its calls must be.

It works in pieces of some 20 seconds. One during which other programs used more than a tenth of a core is not counted
but repeated, and after three attempts the program gives up. With --results the rounds of each piece are kept in a file,
to which further runs, of other levels or kernels or of the same, add theirs; the table is made of all that is in it.
Levels and kernels that have not been measured keep their lines. The table is part of the next build.

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
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks.machine import DISTURBED, OtherLoad, describe
from experiments.command_line import FLAGS, notice, run_program, user_path
from needle import backend_ndarray as nd
from needle.backend_ndarray import conv, cpu, matmul, norm, pool
from needle.checkpoint import write_atomically
from needle.errors import DeviceError, NeedleError

LEVELS = ["baseline", "avx2", "avx512"]
MARGIN = 0.05
CLEAR_SHARE = 2 / 3  # of the calls in a range
SECONDS = 0.2  # of timing for each call
SHORTEST = 2e-4  # seconds of a round; shorter calls are repeated in it
ROUNDS = (7, 100)  # at least, at most
ATTEMPTS = 3  # to find the machine at rest

flags.DEFINE_list("levels", None, "Instruction levels to measure; by default all of this machine.")
flags.DEFINE_list("kernels", ["*"], "Names of the kernels to measure, or patterns such as 'conv*'.")
flags.DEFINE_integer("passes", 2, "How often all is measured.", lower_bound=1)
flags.DEFINE_string("results", None, "File of measurements to add to; by default only those of this run count.")
flags.DEFINE_string("table", "kernels/dnnl/choice_table.inc", "The file to write.")
flags.DEFINE_bool("allow_disturbed", False, "Count pieces that other programs disturbed, to see whether all works.")
flags.DEFINE_string("measure", None, "Print the measurements of a piece at this process's level, and do nothing else.")
flags.register_validator(
    "levels", lambda levels: levels is None or set(levels) <= set(LEVELS), f"expected some of {', '.join(LEVELS)}"
)


class Case(NamedTuple):
    """A call of a kernel: `work` is what kernels/dnnl/ counts, multiply-adds or elements."""

    kernel: str
    shape_class: str
    work: int
    text: str
    call: Callable[[], object]


class Measurement(NamedTuple):
    """Seconds of a call from each provider, round by round; `is_onednn` says whether oneDNN can do it at all."""

    level: str
    kernel: str
    shape_class: str
    work: int
    text: str
    is_onednn: bool
    native: list[float]
    onednn: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast oneDNN is: the median of the rounds."""
        return self.quantile(0.5)

    @property
    def is_clear(self) -> bool:
        return self.is_onednn and self.ratio > 1 + MARGIN and self.quantile(0.25) > 1

    @property
    def gain(self) -> float:
        """What taking oneDNN saves, as a logarithm: 0 where that is not clear, negative where it costs."""
        gain = math.log(self.ratio) - MARGIN
        return (gain if gain < 0 or self.is_clear else 0.0) if self.is_onednn else 0.0

    def quantile(self, share: float) -> float:
        return float(np.quantile(np.divide(self.native, self.onednn), share))


class DisturbedError(NeedleError):
    """Other programs were at work."""


def _array(*shape: int, dtype: str = "float32"):
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return nd.array(values, device=cpu(), dtype=dtype)


# (N, H, W, C_in, C_out, kernel, stride, padding): the course's ResNet-9, David Page's, first layers, ResNet-50's
CONVOLUTIONS = [
    (128, 32, 3, 16, 7, 4, 3), (128, 8, 16, 32, 3, 2, 1), (128, 4, 32, 32, 3, 1, 1), (128, 4, 32, 64, 3, 2, 1),
    (128, 2, 64, 128, 3, 2, 1), (128, 1, 128, 128, 3, 1, 1),
    (64, 32, 3, 64, 3, 1, 1), (8, 32, 64, 128, 3, 1, 1), (16, 16, 128, 128, 3, 1, 1), (8, 16, 128, 256, 3, 1, 1),
    (16, 8, 256, 512, 3, 1, 1), (32, 4, 512, 512, 3, 1, 1),
    (8, 28, 1, 8, 5, 1, 2), (64, 28, 1, 32, 3, 1, 1), (16, 224, 3, 64, 7, 2, 3), (8, 224, 3, 64, 3, 1, 1),
    (8, 56, 64, 64, 1, 1, 0), (8, 56, 64, 64, 3, 1, 1), (8, 28, 128, 128, 3, 2, 1), (16, 14, 256, 256, 3, 2, 1),
    (128, 32, 3, 32, 3, 1, 1), (16, 32, 64, 128, 3, 2, 1), (8, 56, 64, 128, 1, 2, 0), (128, 16, 32, 32, 3, 1, 1),
    (4, 16, 16, 16, 3, 1, 1), (1, 16, 32, 32, 3, 1, 1), (1, 8, 16, 32, 3, 2, 1), (16, 16, 32, 64, 3, 2, 1),
]  # fmt: skip


def _pairs_inside(extent: int, windows: int, kernel: int, stride: int, padding: int) -> int:
    pixels = np.arange(windows)[:, None] * stride + np.arange(kernel) - padding
    return int(((pixels >= 0) & (pixels < extent)).sum())


def _convolutions() -> Iterator[Case]:
    for n, size, c_in, c_out, kernel, stride, padding in CONVOLUTIONS:
        x, weight = _array(n, size, size, c_in), _array(kernel, kernel, c_in, c_out)
        out = conv.conv2d(x, weight, stride, padding)
        pairs = _pairs_inside(size, out.shape[1], kernel, stride, padding)
        work = n * c_in * c_out * pairs**2
        shape_class = "few_channels" if c_in < 16 else "strided" if stride > 1 else "any"
        text = f"{n} x {size} x {size} x {c_in}, {kernel} x {kernel} / {stride}, {c_out}"
        yield Case("conv2d", shape_class, work, text, lambda: conv.conv2d(x, weight, stride, padding))
        yield Case("conv2d_backward_data", shape_class, work, text,
                   lambda: conv.conv2d_backward_data(out, weight, x.shape, stride, padding))  # fmt: skip
        yield Case("conv2d_backward_weight", shape_class, work, text,
                   lambda: conv.conv2d_backward_weight(x, out, weight.shape, stride, padding))  # fmt: skip


# (m, k, n, a is transposed, b is transposed): an LSTM's, forward and backward, layers of perceptrons, squares
PRODUCTS = [
    (700, 200, 10000, 0, 0), (700, 10000, 200, 0, 1), (200, 700, 10000, 1, 0),
    (700, 200, 800, 0, 0), (700, 800, 200, 0, 1), (200, 700, 800, 1, 0),
    (700, 512, 2048, 0, 0), (700, 2048, 512, 0, 1), (512, 700, 2048, 1, 0), (64, 512, 10, 0, 0), (512, 64, 10, 1, 0),
    (128, 784, 512, 0, 0), (784, 128, 512, 1, 0), (128, 512, 784, 0, 1), (128, 128, 128, 0, 0), (20000, 64, 64, 0, 0),
    (32, 32, 32, 0, 0), (64, 64, 64, 0, 0), (256, 256, 256, 0, 0), (512, 512, 512, 0, 0), (1024, 1024, 1024, 0, 0),
    (128, 128, 10, 0, 0), (20, 200, 800, 0, 0), (20, 800, 200, 0, 1), (200, 20, 800, 1, 0), (128, 10, 128, 0, 1),
    (4096, 16, 64, 0, 0), (1, 1024, 1024, 0, 0), (1024, 1024, 1, 0, 0), (8, 512, 512, 0, 0), (16, 16, 16, 0, 0),
]  # fmt: skip


def _products(dtype: str = "float32") -> Iterator[Case]:
    for m, k, n, transpose_a, transpose_b in PRODUCTS:
        is_thin = min(m, k, n) < 32
        if is_thin and dtype == "bfloat16":  # they follow those in float32
            continue
        a = _array(k, m, dtype=dtype).permute((1, 0)) if transpose_a else _array(m, k, dtype=dtype)
        b = _array(n, k, dtype=dtype).permute((1, 0)) if transpose_b else _array(k, n, dtype=dtype)
        shape_class = "thin" if is_thin else "bfloat16" if dtype == "bfloat16" else "any"
        text = f"{m} x {k}{' T' * transpose_a}, {k} x {n}{' T' * transpose_b}"
        yield Case("matmul", shape_class, m * k * n, text, lambda: matmul.matmul(a, b))
        if not transpose_a:
            bias = _array(n, dtype=dtype)
            yield Case("linear", shape_class, m * k * n, text, lambda: matmul.linear(a, b, bias))


# (N, H, W, C)
IMAGES = [
    (128, 1, 1, 128), (128, 2, 2, 64), (128, 4, 4, 32), (128, 8, 8, 16), (128, 4, 4, 128), (128, 8, 8, 64),
    (32, 16, 16, 128), (32, 32, 32, 64), (32, 56, 56, 64), (128, 16, 16, 128), (8, 112, 112, 64),
]  # fmt: skip


def _images() -> Iterator[Case]:
    for shape in IMAGES:
        x, (weight, bias) = _array(*shape), (_array(shape[3]) for _ in range(2))
        _, mean, variance = norm.batch_norm(x, weight, bias, 1e-5)
        work, text = math.prod(shape), " x ".join(map(str, shape))
        yield Case("batch_norm_inference", "any", work, text,
                   lambda: norm.batch_norm_inference(x, weight, bias, mean, variance, 1e-5))  # fmt: skip
        if shape[1] > 1:
            out = pool.avg_pool2d(x, 2, 2)
            yield Case("avg_pool2d", "any", work, text, lambda: pool.avg_pool2d(x, 2, 2))
            yield Case("avg_pool2d_backward", "any", work, text, lambda: pool.avg_pool2d_backward(out, shape, 2, 2))


PIECES = {
    "convolutions": _convolutions,
    "products": _products,
    "bfloat16_products": lambda: _products("bfloat16"),
    "images": _images,
}


def measure(piece: str, kernels: list[str]) -> Iterator[Measurement]:
    """A piece's cases, of kernels by these patterns, at this process's level. Raises DeviceError without oneDNN."""
    if "onednn" not in cpu().kernels.providers():
        raise DeviceError(cpu().kernels.onednn_status())
    for case in PIECES[piece]():
        if _is_wanted(case.kernel, kernels):
            before = cpu().kernels.onednn_calls()[case.kernel]
            native, onednn = _seconds(case.call, ["native", "onednn"])
            is_onednn = cpu().kernels.onednn_calls()[case.kernel] > before
            yield Measurement(cpu().kernels.level(), *case[:4], is_onednn, native, onednn)


def _is_wanted(kernel: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(kernel, pattern) for pattern in patterns)


def _seconds(call: Callable[[], object], providers: list[str]) -> list[list[float]]:
    """Seconds of a call from each provider, in each round; who comes first changes from round to round."""
    warm = [min(_time(call, provider, 1) for _ in range(3)) for provider in providers]  # the first makes the primitive
    calls = max(1, math.ceil(SHORTEST / min(warm)))
    seconds = [[] for _ in providers]
    end, rounds = time.perf_counter() + SECONDS, 0
    while rounds < ROUNDS[0] or (time.perf_counter() < end and rounds < ROUNDS[1]):
        for i in (0, 1) if rounds % 2 else (1, 0):
            seconds[i].append(_time(call, providers[i], calls))
        rounds += 1
    return seconds


def _time(call: Callable[[], object], provider: str, calls: int) -> float:
    cpu().kernels.set_provider(provider)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def merged(measurements: list[Measurement]) -> list[Measurement]:
    """One measurement for each call, with the rounds of all that there are of it."""
    calls = {}
    for m in measurements:
        known = calls.setdefault(m[:5], m._replace(native=[], onednn=[]))
        calls[m[:5]] = known._replace(native=known.native + m.native, onednn=known.onednn + m.onednn)
    return list(calls.values())


def best_range(measurements: list[Measurement]) -> tuple[float, float, list[Measurement]] | None:
    """(from, to, what was measured there): the range of work in which oneDNN saves most, or None if that is not clear.

    Ends lie midway, on a logarithmic scale, between measured amounts of work; beyond the largest one there is none.
    """
    by_work = defaultdict(list)
    for m in measurements:
        by_work[m.work].append(m)
    works = sorted(by_work)
    gain = [sum(m.gain for m in by_work[work]) for work in works]
    ranges = [(sum(gain[i:j]), i, j) for i in range(len(works)) for j in range(i + 1, len(works) + 1)]
    for most, i, j in sorted(ranges, reverse=True):
        inside = [m for work in works[i:j] for m in by_work[work]]
        clear = sum(m.is_clear for m in inside)
        if most > MARGIN and clear >= 2 and clear >= CLEAR_SHARE * len(inside):
            low = math.sqrt(works[i - 1] * works[i]) if i else works[0]
            high = math.sqrt(works[j - 1] * works[j]) if j < len(works) else math.inf
            return low, high, inside
    return None


def table_lines(measurements: list[Measurement]) -> Iterator[str]:
    """One line for each level, kernel and class of shapes that oneDNN is chosen for."""
    groups = defaultdict(list)
    for m in measurements:
        groups[m.level, m.kernel, m.shape_class].append(m)
    for (level, kernel, shape_class), group in groups.items():
        if found := best_range(group):
            low, high, inside = found
            ratio = math.exp(sum(math.log(m.ratio) for m in inside) / len(inside))
            to = "kAnyWork" if high == math.inf else f"{high:.1e}"
            entry = f"NEEDLE_CHOICE({level}, {kernel}, {shape_class}, {low:.1e}, {to})"
            yield f"{entry:<84}  // {ratio:.2f} x over {len(inside)} of {len(group)} shapes"


HEADER = """\
// Written by benchmarks/choose_kernels.py: where oneDNN is taken, from <= work < to, and how much faster it was there,
// geometric mean of medians. Measured with {threads} threads on {processor}.
//
// NEEDLE_CHOICE(level, kernel, class of shapes, from, to)
"""


def new_table(old: str, measurements: list[Measurement], header: str) -> str:
    """The table, in which levels and kernels that have not been measured have the lines of the old one."""
    lines = list(table_lines(measurements))
    measured = {(m.level, m.kernel) for m in measurements}
    table = header
    for level in LEVELS:
        for kernel in cpu().kernels.onednn_calls():
            source = lines if (level, kernel) in measured else old.splitlines()
            table += "".join(f"{line}\n" for line in source if line.startswith(f"NEEDLE_CHOICE({level}, {kernel},"))
    return table


def _measure_undisturbed(level: str, piece: str) -> list[Measurement]:
    """`measure` in a process of that level, repeated if disturbed. Raises DisturbedError.

    oneDNN's instructions are settled when it is loaded, so each level has a process of its own.
    """
    kernels = ",".join(FLAGS.kernels)
    command = [sys.executable, "-m", "benchmarks.choose_kernels", f"--measure={piece}", f"--kernels={kernels}"]
    environment = {**os.environ, "NEEDLE_CPU_LEVEL": level, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(ATTEMPTS):
        notice(f"{level}, {piece} ...")
        load = OtherLoad()
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if result.returncode:
            raise DeviceError(f"the measurement at {level} failed")
        cores = load.cores()
        if cores <= DISTURBED or FLAGS.allow_disturbed:
            return [Measurement(*values) for values in json.loads(result.stdout)]
        notice(f"other programs used {cores:.2f} cores meanwhile: this does not count")
    raise DisturbedError(f"{level}, {piece}: disturbed {ATTEMPTS} times; try again when the machine is idle")


def _report(measurements: list[Measurement]) -> Iterator[str]:
    yield "milliseconds, ours and oneDNN's; ours / oneDNN's: lower quartile, median; * where oneDNN is clearly faster"
    for m in measurements:
        times = f"{np.median(m.native) * 1e3:>10.3f}{np.median(m.onednn) * 1e3:>10.3f}"
        ratios = f"{m.quantile(0.25):>7.2f}{m.ratio:>7.2f}{' *' if m.is_clear else ''}"
        yield f"  {m.level:<9}{m.kernel:<24}{m.text:<42}" + (times + ratios if m.is_onednn else "  oneDNN cannot")


def _read_results(path: Path | None) -> list[Measurement]:
    text = path.read_text() if path is not None and path.exists() else ""
    return [Measurement(*values) for values in json.loads(text or "[]")]


def main() -> str:
    if FLAGS.measure:
        return json.dumps(list(measure(FLAGS.measure, FLAGS.kernels)))
    if not any(_is_wanted(kernel, FLAGS.kernels) for kernel in cpu().kernels.onednn_calls()):
        raise NeedleError(f"no kernel of oneDNN is called {', '.join(FLAGS.kernels)}")
    path = user_path(FLAGS.table)
    results = None if FLAGS.results is None else user_path(FLAGS.results)
    for file in filter(None, (path, results)):  # fails now, not after all the work
        file.open("a").close()
    measurements = _read_results(results)
    for _ in range(FLAGS.passes):
        for level in FLAGS.levels or cpu().kernels.levels():
            for piece in PIECES:
                measurements = merged(measurements + _measure_undisturbed(level, piece))
                if results is not None:
                    write_atomically(results, json.dumps(measurements).encode())
    header = HEADER.format(threads=cpu().kernels.get_num_threads(), processor=describe()["processor"])
    write_atomically(path, new_table(path.read_text(), measurements, header).encode())
    return "\n".join([*_report(measurements), f"wrote {path}"])


if __name__ == "__main__":
    run_program("choose_kernels", main)
