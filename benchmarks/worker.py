"""A contender's process: reads requests, one JSON object a line, from standard input, and answers each with one.

    python -m benchmarks.worker MODULE CONFIGURATION        # such as benchmarks.numpy_work {}

    {"request": "describe"}                                 {"versions": {...}, "threads": 2}
    {"request": "prepare", "work": ..., "sizes": {...}}     {"prepared": true}, false where the module has no such work;
                                                            with "cold": true, without warm-up
    {"request": "turn"}                                     {"seconds": 0.01}, of one call
    {"request": "peak_memory"}                              {"bytes": 1234}, of the work and its inputs

A module whose work a device may do beside the program has `has_device()`, which says whether one does; `synchronize()`,
which waits for it; and `begin_peak_memory()` and `peak_memory()`, the most bytes in use on the device since. Calls then
only queue work: they are timed together with one wait at their end.

A module's `Absent` exception is answered with {"absent": ...}: the work cannot be done here, for that reason. Anything
that goes wrong is answered with {"error": ...}. See contest.py for why there are processes.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Seconds; a turn makes as many calls as that takes. On a device so many that the wait for the last one hardly counts.
_SHORTEST_TURN, _SHORTEST_TURN_ON_DEVICE = 2e-3, 20e-3


class Worker:
    """Does the work of one module."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._work: Callable[[], Any] | None = None
        self._calls = 1
        self._cold = False
        self._memory_before = 0
        self._has_device = hasattr(module, "has_device") and module.has_device()

    def describe(self) -> dict:
        return {"versions": self._module.versions(), "threads": self._module.threads()}

    def prepare(self, work: str, sizes: dict[str, int], cold: bool = False) -> dict:
        """Makes the inputs and, unless `cold`, warms up, and finds out how many calls a turn takes."""
        self._work = None
        gc.collect()
        self._memory_before = _memory("VmRSS")
        build = getattr(self._module, work, None)
        if build is None:
            return {"prepared": False}
        self._work, self._cold = build(**sizes), cold
        if self._work is None:
            return {"prepared": False}
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak, VmHWM, begins anew: making inputs is not the work
        if self._has_device:
            self._module.begin_peak_memory()
        if cold:
            self._calls = 1
            return {"prepared": True}
        seconds = min(self._seconds(1) for _ in range(3))
        if self._has_device:  # a call alone is mostly the wait for it
            seconds = self._seconds(8) / 8
        self._calls = max(1, round((_SHORTEST_TURN_ON_DEVICE if self._has_device else _SHORTEST_TURN) / seconds))
        self._seconds(self._calls)
        return {"prepared": True}

    def turn(self) -> dict:
        """Times some calls, after one that does not count: it wakes the threads and refills the caches.

        A device has as many that do not count as do, for its clock to rise.
        """
        gc.collect()
        if not self._cold:
            self._seconds(self._calls if self._has_device else 1)
        seconds = self._seconds(self._calls) / self._calls
        _wait_for_threads_to_sleep()
        return {"seconds": seconds}

    def peak_memory(self) -> dict:
        if self._has_device:
            return {"bytes": self._module.peak_memory()}
        return {"bytes": max(0, _memory("VmHWM") - self._memory_before)}

    def _seconds(self, calls: int) -> float:
        work, repetitions = self._work, range(calls)
        wait = self._module.synchronize if self._has_device else _nothing
        wait()
        start = time.perf_counter()
        for _ in repetitions:
            work()
        wait()
        return time.perf_counter() - start


def _nothing() -> None:
    """What is to wait for where the program itself does the work."""


def _memory(what: str) -> int:
    """Bytes of this process: VmRSS, in memory now, or VmHWM, their peak."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


def _wait_for_threads_to_sleep(at_most: float = 1.0) -> None:
    """Returns when idle threads of OpenMP or a BLAS have given up looking for work, which would slow the next turn."""
    deadline = time.perf_counter() + at_most
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(0.005)
        if time.process_time() - before < 0.001:
            return


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this one
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library may print is no answer
    try:
        module = importlib.import_module(sys.argv[1])
        module.configure(**json.loads(sys.argv[2]))
        worker = Worker(module)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        return
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = getattr(worker, arguments.pop("request"))(**arguments)
        except getattr(module, "Absent", ()) as reason:
            answer = {"absent": str(reason)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
