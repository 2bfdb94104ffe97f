"""The machine: what it is, what it can do at most, and whether it had anything else to do."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.contest import Contender, ContestError, WorkerProcess, compete, start
from benchmarks.row import Row

DISTURBED = 0.1  # cores used by others, from which on figures mean little


def describe() -> dict[str, Any]:
    """Processor, cores that this process may use, cache, memory, system, GPUs."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    cache = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "l3_cache": cache.read_text().strip() if cache.exists() else "unknown",
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Name, driver and memory of each GPU, as the driver's program says; nothing where it is not there."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return ["{}, driver {}, {}".format(*line.split(", ")) for line in said.stdout.splitlines() if line.count(", ") == 2]


def participants(contenders: list[Contender], threads: int) -> dict[str, Any]:
    """Versions, and the number of threads that each contender says it uses."""
    versions: dict[str, str] = {}
    counts = {}
    with start(contenders, threads) as workers:
        for worker in workers:
            try:
                answer = worker.ask("describe")
            except ContestError:  # which rows tell of
                continue
            versions = versions | answer["versions"] | versions  # in their order, and the first one's word counts
            counts[worker.contender.name] = answer["threads"]
    return {"versions": versions, "threads": counts}


def _products(size: int, work: str = "matmul", gpu: bool = False, dtype: str = "float32") -> Row:
    how, sizes = f"matmul {size} x {size}, {dtype}", dict.fromkeys("mkn", size)
    return Row(work, how, work, sizes, lambda m, k, n: {"GFLOP": 2e-9 * m * k * n}, gpu=gpu, dtype=dtype)


# A GPU needs larger matrices to be busy, and multiplies half types and TF32 on units of their own.
PEAK_FLOPS = [
    _products(2048),
    _products(8192, gpu=True),
    *(_products(8192, f"matmul_{dtype}", True, dtype) for dtype in ("tf32", "bfloat16", "float16", "float64")),
]
PEAK_BANDWIDTH = Row("copy", "copy of 256 MiB, read + write", "copy", {"n": 2**26}, lambda n: {"GB": 8e-9 * n})

Peaks = dict[str, dict[str, dict[str, Any]]]


def measure_peaks(workers: list[WorkerProcess], quick: bool) -> Peaks:
    """The most that anybody reaches here on each device, and who did.

    As {"cpu": {"GFLOP": {"per_second", "by", "how"}, "GB": ...}, "cuda": {..., "GFLOP bfloat16": ...}}.
    Floating-point operations: the fastest turn of any contender's product. This is a rate that real code reaches, not
    the data sheet's. Bandwidth: the fastest copy of 256 MiB, counted as one read and one write.
    """
    peaks: Peaks = {}
    for row in [*PEAK_FLOPS, PEAK_BANDWIDTH]:
        sizes = row.sizes_for(quick)
        ((unit, amount),) = row.amounts(**sizes).items()
        key = unit if row.dtype == "float32" else f"{unit} {row.dtype}"
        results, failures, _ = compete(row, sizes, workers, runs=2 if quick else 7)
        for failure in failures:
            print(f"{row.title}: {failure}", file=sys.stderr, flush=True)
        for result in results:
            peak = {"per_second": amount / min(result.seconds), "by": result.contender.name, "how": row.title}
            known = peaks.setdefault(result.contender.device, {}).setdefault(key, peak)
            if peak["per_second"] > known["per_second"]:
                known.update(peak)
    return peaks


def add_share_of_bound(row: dict[str, Any], peaks: Peaks) -> None:
    """Adds `bounds`, the seconds that each device's peaks allow, and each result's `share_of_bound`, at its median.

    Arithmetic in a dtype whose peak was not measured is held against that of float32.
    """
    row["bounds"] = {}
    for device, reached in peaks.items():
        of_dtype = {unit: reached.get(f"{unit} {row['dtype']}", reached.get(unit)) for unit in row["amounts"]}
        row["bounds"][device] = max(row["amounts"][unit] / peak["per_second"] for unit, peak in of_dtype.items())
    for result in row["results"]:
        result["share_of_bound"] = row["bounds"][result["device"]] / result["median"]


class OtherLoad:
    """How many cores other programs, or other machines on the same host, used since this object was made, on average.

    All processors' busy time less that of this process's children, which must have ended when `cores` is called.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        seconds = time.perf_counter() - self._start
        return max(0.0, (_busy_seconds() - self._busy - (_own_seconds() - self._own)) / seconds)


def _busy_seconds() -> float:
    """Of all processors together, since the machine started; "steal" is what a virtual machine was not given."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Of this process and its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
