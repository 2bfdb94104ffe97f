"""The machine: what it is, what it can do at most, and whether it had anything else to do."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from benchmarks.contest import Contender, WorkerProcess, compete, start
from benchmarks.row import Row

DISTURBED = 0.1  # cores used by others, from which on figures mean little


def describe() -> dict[str, Any]:
    """Processor, cores that this process may use, cache, memory, system."""
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
    }


def participants(contenders: list[Contender], threads: int) -> dict[str, Any]:
    """Versions, and the number of threads that each contender says it uses."""
    versions: dict[str, str] = {}
    counts = {}
    with start(contenders, threads) as workers:
        for worker in workers:
            answer = worker.ask("describe")
            versions |= answer["versions"]
            counts[worker.contender.name] = answer["threads"]
    return {"versions": versions, "threads": counts}


PEAK_FLOPS = Row(
    "peak_flops", "peak", "matmul", {"m": 2048, "k": 2048, "n": 2048}, lambda m, k, n: {"GFLOP": 2e-9 * m * k * n}
)
PEAK_BANDWIDTH = Row("peak_bandwidth", "peak", "copy", {"n": 2**26}, lambda n: {"GB": 8e-9 * n})


def measure_peaks(workers: list[WorkerProcess], quick: bool) -> dict[str, dict[str, Any]]:
    """The most that any contender reaches here, and who did, as {"GFLOP": {"per_second", "by", "how"}, "GB": ...}.

    Floating-point operations: the fastest turn of any contender's float32 product of 2048 x 2048 matrices. This is a
    rate that real code reaches, not the data sheet's. Bandwidth: the fastest copy of 256 MiB, counted as one read and
    one write.
    """
    peaks = {}
    for unit, row, how in (
        ("GFLOP", PEAK_FLOPS, "matmul 2048 x 2048, float32"),
        ("GB", PEAK_BANDWIDTH, "copy of 256 MiB, read + write"),
    ):
        sizes = row.sizes_for(quick)
        results = compete(row, sizes, workers, runs=2 if quick else 7)
        best = min(results, key=lambda result: min(result.seconds))
        rate = row.amounts(**sizes)[unit] / min(best.seconds)
        peaks[unit] = {"per_second": rate, "by": best.contender.name, "how": how}
    return peaks


def add_share_of_bound(row: dict[str, Any], peaks: dict[str, dict[str, Any]]) -> None:
    """Adds `bound`, the seconds that the machine's peaks allow, and each result's `share_of_bound`, at its median."""
    row["bound"] = max(amount / peaks[unit]["per_second"] for unit, amount in row["amounts"].items())
    for result in row["results"]:
        result["share_of_bound"] = row["bound"] / result["median"]


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
