"""Measures our CPU kernels against oneDNN's, and writes which are taken: kernels/dnnl/choice_table.inc.

    bazel run //benchmarks:choose_kernels -- [--levels=avx2,avx512] [--passes=2] [--table=FILE]

For each instruction level, kernel and class of shapes (provider.h says what the classes are) it times calls that
networks make, float32, both providers in turn, and counts the fastest run of each in all passes. Of all ranges of work
it then takes the one in which oneDNN saves most: the sum of log(our time / its time) - 0.05 over the measured calls in
it, so that what is within 5% stays ours. Levels that are not measured keep their lines. The table is part of the next
build.

Batch normalization in training stays ours, though oneDNN's may be faster on an idle machine: its threads wait for each
other in the middle of it, and where another program has one of the cores it takes several times as long as ours.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks.machine import describe
from experiments.command_line import FLAGS, run_program, user_path
from needle import backend_ndarray as nd
from needle.backend_ndarray import conv, cpu, matmul, norm, pool
from needle.checkpoint import write_atomically
from needle.errors import DeviceError

LEVELS = ["baseline", "avx2", "avx512"]
STAY_OURS = ("batch_norm", "batch_norm_backward")
MARGIN = 0.05
SECONDS = 0.25  # of timing for each call

flags.DEFINE_list("levels", None, "Instruction levels to measure; by default all of this machine.")
flags.DEFINE_integer("passes", 2, "How often all is measured.", lower_bound=1)
flags.DEFINE_string("table", "kernels/dnnl/choice_table.inc", "The file to write.")
flags.DEFINE_bool("measure", False, "Print the measurements at the level of this process, and do nothing else.")
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
    """Seconds of the fastest run of each provider; `calls` is how many of them oneDNN did itself."""

    kernel: str
    shape_class: str
    work: int
    text: str
    native: float
    onednn: float
    calls: int


def _array(*shape: int):
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return nd.array(values, device=cpu(), dtype="float32")


# (N, H, W, C_in, C_out, kernel, stride, padding): the course's ResNet-9, David Page's, first layers, ResNet-50's
CONVOLUTIONS = [
    (128, 32, 3, 16, 7, 4, 3), (128, 8, 16, 32, 3, 2, 1), (128, 4, 32, 32, 3, 1, 1), (128, 4, 32, 64, 3, 2, 1),
    (128, 2, 64, 128, 3, 2, 1), (128, 1, 128, 128, 3, 1, 1),
    (64, 32, 3, 64, 3, 1, 1), (32, 32, 64, 128, 3, 1, 1), (64, 16, 128, 128, 3, 1, 1), (32, 16, 128, 256, 3, 1, 1),
    (64, 8, 256, 512, 3, 1, 1), (64, 4, 512, 512, 3, 1, 1),
    (8, 28, 1, 8, 5, 1, 2), (64, 28, 1, 32, 3, 1, 1), (16, 224, 3, 64, 7, 2, 3), (8, 224, 3, 64, 3, 1, 1),
    (8, 56, 64, 64, 1, 1, 0), (8, 56, 64, 64, 3, 1, 1), (8, 28, 128, 128, 3, 2, 1), (16, 14, 256, 256, 3, 2, 1),
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
    (128, 784, 512, 0, 0), (784, 128, 512, 1, 0), (128, 512, 784, 0, 1), (128, 128, 128, 0, 0), (20000, 64, 64, 0, 0),
    (32, 32, 32, 0, 0), (64, 64, 64, 0, 0), (256, 256, 256, 0, 0), (512, 512, 512, 0, 0), (1024, 1024, 1024, 0, 0),
    (128, 128, 10, 0, 0), (20, 200, 800, 0, 0), (20, 800, 200, 0, 1), (200, 20, 800, 1, 0), (128, 10, 128, 0, 1),
    (4096, 16, 64, 0, 0), (1, 1024, 1024, 0, 0), (1024, 1024, 1, 0, 0), (8, 512, 512, 0, 0), (16, 16, 16, 0, 0),
]  # fmt: skip


def _products() -> Iterator[Case]:
    for m, k, n, transpose_a, transpose_b in PRODUCTS:
        a = _array(k, m).permute((1, 0)) if transpose_a else _array(m, k)
        b = _array(n, k).permute((1, 0)) if transpose_b else _array(k, n)
        shape_class = "thin" if min(m, k, n) < 32 else "any"
        text = f"{m} x {k}{' T' * transpose_a}, {k} x {n}{' T' * transpose_b}"
        yield Case("matmul", shape_class, m * k * n, text, lambda: matmul.matmul(a, b))
        if not transpose_a:
            bias = _array(n)
            yield Case("linear", shape_class, m * k * n, text, lambda: matmul.linear(a, b, bias))


# (N, H, W, C)
IMAGES = [
    (128, 1, 1, 128), (128, 2, 2, 64), (128, 4, 4, 32), (128, 8, 8, 16), (128, 4, 4, 128), (128, 8, 8, 64),
    (32, 16, 16, 128), (32, 32, 32, 64), (32, 56, 56, 64), (128, 16, 16, 128), (8, 112, 112, 64),
]  # fmt: skip


def _images() -> Iterator[Case]:
    for shape in IMAGES:
        x, grad, (weight, bias) = _array(*shape), _array(*shape), (_array(shape[3]) for _ in range(2))
        _, mean, variance = norm.batch_norm(x, weight, bias, 1e-5)
        work, text = math.prod(shape), " x ".join(map(str, shape))
        yield Case("batch_norm", "any", work, text, lambda: norm.batch_norm(x, weight, bias, 1e-5))
        yield Case("batch_norm_inference", "any", work, text,
                   lambda: norm.batch_norm_inference(x, weight, bias, mean, variance, 1e-5))  # fmt: skip
        yield Case("batch_norm_backward", "any", work, text,
                   lambda: norm.batch_norm_backward(grad, x, weight, bias, mean, variance, 1e-5))  # fmt: skip
        if shape[1] > 1:
            out = pool.avg_pool2d(x, 2, 2)
            yield Case("avg_pool2d", "any", work, text, lambda: pool.avg_pool2d(x, 2, 2))
            yield Case("avg_pool2d_backward", "any", work, text, lambda: pool.avg_pool2d_backward(out, shape, 2, 2))


def measure() -> Iterator[Measurement]:
    """Every case at this process's instruction level. Raises DeviceError without oneDNN."""
    kernels = cpu().kernels
    if "onednn" not in kernels.providers():
        raise DeviceError(kernels.onednn_status())
    for make in (_convolutions, _products, _images):
        for case in make():
            before = kernels.onednn_calls()[case.kernel]
            seconds = _fastest(case.call, ["native", "onednn"])
            calls = kernels.onednn_calls()[case.kernel] - before
            yield Measurement(*case[:4], *seconds, calls)


def _fastest(call: Callable[[], object], providers: list[str]) -> list[float]:
    """Seconds of the fastest run from each provider, in turn."""
    fastest = [math.inf] * len(providers)
    end, rounds = time.perf_counter() + SECONDS, 0
    while rounds < 5 or (time.perf_counter() < end and rounds < 1000):
        for i, provider in enumerate(providers):
            cpu().kernels.set_provider(provider)
            start = time.perf_counter()
            call()
            if rounds:  # the first run makes the primitive
                fastest[i] = min(fastest[i], time.perf_counter() - start)
        rounds += 1
    return fastest


def fastest_of(passes: list[list[Measurement]]) -> list[Measurement]:
    """The same cases with the fastest runs of all passes."""
    return [
        case[0]._replace(native=min(m.native for m in case), onednn=min(m.onednn for m in case))
        for case in zip(*passes)
    ]


def best_range(measurements: list[Measurement]) -> tuple[float, float, list[Measurement]] | None:
    """(from, to, what was measured there): the range of work in which oneDNN saves most, or None if it saves nothing.

    Ends lie midway, on a logarithmic scale, between measured amounts of work; beyond the largest one there is none.
    """
    by_work = defaultdict(list)
    for m in measurements:
        by_work[m.work].append(m)
    works = sorted(by_work)
    gain = [sum(math.log(m.native / m.onednn) - MARGIN if m.calls else 0.0 for m in by_work[w]) for w in works]
    ranges = [(sum(gain[i:j]), i, j) for i in range(len(works)) for j in range(i + 1, len(works) + 1)]
    most, i, j = max(ranges, default=(0.0, 0, 0))
    if most <= MARGIN:  # chance
        return None
    low = math.sqrt(works[i - 1] * works[i]) if i else works[0]
    high = math.sqrt(works[j - 1] * works[j]) if j < len(works) else math.inf
    return low, high, [m for w in works[i:j] for m in by_work[w]]


def table_lines(level: str, measurements: list[Measurement]) -> Iterator[str]:
    """One line for each kernel and class of shapes that oneDNN is chosen for."""
    groups = defaultdict(list)
    for m in measurements:
        groups[m.kernel, m.shape_class].append(m)
    for (kernel, shape_class), group in groups.items():
        found = best_range(group)
        if found and kernel not in STAY_OURS:
            low, high, inside = found
            ratio = math.exp(sum(math.log(m.native / m.onednn) for m in inside) / len(inside))
            to = "kAnyWork" if high == math.inf else f"{high:.1e}"
            entry = f"NEEDLE_CHOICE({level}, {kernel}, {shape_class}, {low:.1e}, {to})"
            yield f"{entry:<84}  // {ratio:.2f} x over {len(inside)} of {len(group)} shapes"


HEADER = """\
// Written by benchmarks/choose_kernels.py: where oneDNN is taken, from <= work < to, and how much faster it was there,
// geometric mean. Measured with {threads} threads on {processor}.
//
// NEEDLE_CHOICE(level, kernel, class of shapes, from, to)
"""


def _measure_in_process(level: str) -> list[Measurement]:
    """oneDNN's instructions are settled when it is loaded, so each level has a process of its own."""
    command = [sys.executable, "-m", "benchmarks.choose_kernels", "--measure"]
    environment = {**os.environ, "NEEDLE_CPU_LEVEL": level, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise DeviceError(f"the measurement at {level} failed")
    return [Measurement(*values) for values in json.loads(result.stdout)]


def _report(level: str, measurements: list[Measurement]) -> str:
    rows = [f"{level}: milliseconds, ours and oneDNN's, and ours / oneDNN's"]
    for m in measurements:
        who = "" if m.calls else "  (ours: oneDNN cannot)"
        times = f"{m.native * 1e3:>10.3f}{m.onednn * 1e3:>10.3f}{m.native / m.onednn:>7.2f}"
        rows.append(f"  {m.kernel:<24}{m.text:<42}{times}{who}")
    return "\n".join(rows)


def main() -> str:
    if FLAGS.measure:
        return json.dumps(list(measure()))
    levels = FLAGS.levels or cpu().kernels.levels()
    path = user_path(FLAGS.table)
    with path.open("a+") as file:  # fails now, not after all the work
        file.seek(0)
        kept = file.read().splitlines()
    lines = {level: [line for line in kept if line.startswith(f"NEEDLE_CHOICE({level},")] for level in LEVELS}
    reports = []
    for level in levels:
        measurements = fastest_of([_measure_in_process(level) for _ in range(FLAGS.passes)])
        reports.append(_report(level, measurements))
        lines[level] = list(table_lines(level, measurements))
    header = HEADER.format(threads=cpu().kernels.get_num_threads(), processor=describe()["processor"])
    table = header + "".join(f"{line}\n" for level in LEVELS for line in lines[level])
    write_atomically(path, table.encode())
    return "\n\n".join([*reports, f"wrote {path}"])


if __name__ == "__main__":
    run_program("choose_kernels", main)
