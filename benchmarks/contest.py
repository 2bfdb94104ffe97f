"""Who takes part, and how their turns are measured.

Every contender is a process of its own, and one of them works at a time: in each round every contender has one turn,
in another order each round, so that whatever slows the machine down for a while slows all of them. Processes of their
own, because

- threads of OpenMP spin for some time after a parallel region, and take cores away from whoever has the next turn; a
  process can see when its own have gone to sleep, and only then ends its turn;
- PyTorch brings an OpenMP runtime with the soname of the system's: with Needle imported first, both use the system's;
- peak memory, and the choice of kernels by NEEDLE_CPU_KERNELS, belong to a process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.row import Row, Sizes
from needle.backend_ndarray import cpu, cuda, default_device
from needle.errors import DeviceError, NeedleError


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work: the module that does, what its `configure` is given, and the environment.

    One with `images_only` is another one's double but for work on images, and one with `compiled_only` takes part where
    a row says that models are compiled. `python` is the interpreter, if not this one: what runs in it cannot import
    needle, whose modules are built for this one.
    """

    name: str
    module: str
    configuration: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    images_only: bool = False
    compiled_only: bool = False
    python: str | None = None

    @property
    def ours(self) -> bool:
        return self.module == "benchmarks.needle_work"

    @property
    def device(self) -> str:
        return self.configuration.get("device", "cpu")

    def takes_part(self, row: Row) -> bool:
        return (
            (row.images or not self.images_only)
            and (row.compiled or not self.compiled_only)
            and (self.device == "cuda" or not row.gpu)
        )


@dataclass(frozen=True)
class Result:
    """What a contender needed for one call of a row's work, in seconds, turn by turn, and its peak memory in bytes."""

    contender: Contender
    seconds: list[float]
    peak_memory: int

    @property
    def median(self) -> float:
        return median(self.seconds)


class ContestError(NeedleError):
    """A contender failed."""


DEVICES = {"cpu": cpu, "cuda": cuda}  # those that programs train on; the reference is no contender


def contenders(devices: Collection[str] = DEVICES, pytorch_python: str | None = None) -> list[Contender]:
    """Needle on every device, with every provider of kernels; then NumPy and, where it is installed, PyTorch.

    devices: those to take of those that there are. pytorch_python: PyTorch's interpreter, if not this one.
    Raises DeviceError where the CPU's kernels do not load or nothing is left, ContestError where that interpreter
    cannot import PyTorch.
    """
    default_device()
    found = []
    for name, make in DEVICES.items():
        device = make()
        if device.enabled():
            variable = f"NEEDLE_{name.upper()}_KERNELS"
            providers = device.kernels.providers() if name == "cpu" else ["native", "library", "auto"]
            found += [
                Contender(f"needle {name} {provider}", "benchmarks.needle_work", {"device": name}, {variable: provider})
                for provider in providers
            ]
    found.append(Contender("numpy", "benchmarks.numpy_work"))
    if pytorch_python is not None or has_pytorch():
        found += _pytorch(pytorch_python)
    found = [contender for contender in found if contender.device in devices]
    if not any(contender.ours for contender in found):
        raise DeviceError(cuda().reason)
    return found


def _pytorch(python: str | None) -> list[Contender]:
    """Eager, on each device that it has; the GPU's compiles models, too."""
    pytorch = functools.partial(Contender, module="benchmarks.pytorch_work", python=python)
    found = []
    for name, device in [("pytorch", "cpu")] + [("pytorch cuda", "cuda")] * _pytorch_has_cuda(python):
        on = {"device": device}
        found += [
            pytorch(name, configuration=on),
            pytorch(f"{name} channels-last", configuration={**on, "channels_last": True}, images_only=True),
        ]
        if device == "cuda":
            found.append(pytorch(f"{name} compiled", configuration={**on, "compiled": True}, compiled_only=True))
    return found


def has_pytorch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _pytorch_has_cuda(python: str | None) -> bool:
    """Asked of another process: see above for what importing PyTorch would do to this one. Raises ContestError."""
    program = "import numpy, torch; print(torch.cuda.is_available())"
    command = [python or sys.executable, "-c", program]
    try:
        asked = subprocess.run(command, env=_environment(python), capture_output=True, text=True)
    except OSError as error:
        raise ContestError(f"PyTorch's interpreter {python}: {error.strerror}") from None
    if asked.returncode:
        reason = asked.stderr.strip().splitlines()[-1:] or [f"it ended, with status {asked.returncode}"]
        raise ContestError(f"{command[0]} cannot import PyTorch and NumPy: {reason[0]}")
    return asked.stdout.split()[-1] == "True"


def _environment(python: str | None) -> dict[str, str]:
    """Of a process of that interpreter: this one's modules, or for another one the folder of this package alone."""
    path = os.pathsep.join(sys.path) if python is None else str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": path}


class WorkerProcess:
    """A contender's process: see worker.py. A context manager."""

    def __init__(self, contender: Contender, threads: int) -> None:
        self.contender = contender
        environment = {
            **_environment(contender.python),
            **contender.environment,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        python = contender.python or sys.executable
        command = [python, "-m", "benchmarks.worker", contender.module, json.dumps(contender.configuration)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """The answer. Raises ContestError where there is none, or the work failed."""
        try:
            print(json.dumps({"request": request, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # its last words may say why
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended, with status {self._process.wait()}"}
        if "error" in answer:
            raise ContestError(f"{self.contender.name}: {answer['error']}")
        return answer


@contextlib.contextmanager
def start(contenders: list[Contender], threads: int) -> Iterator[list[WorkerProcess]]:
    """The contenders' processes, which end with the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WorkerProcess(contender, threads)) for contender in contenders]


def compete(row: Row, sizes: Sizes, workers: list[WorkerProcess], runs: int) -> tuple[list[Result], list[str]]:
    """The results of those who can do the work, after `runs` rounds, and what those said who failed at it."""
    failures: dict[WorkerProcess, str] = {}

    def ask(worker: WorkerProcess, request: str, answer: str, **arguments: Any) -> Any:
        try:
            return worker.ask(request, **arguments)[answer]
        except ContestError as error:
            failures[worker] = str(error)
            return None

    entered = [worker for worker in workers if worker.contender.takes_part(row)]
    able = [worker for worker in entered if ask(worker, "prepare", "prepared", work=row.work, sizes=sizes)]
    seconds = {worker: [] for worker in able}
    for turn in range(runs):
        first = turn % max(1, len(able))
        for worker in able[first:] + able[:first]:
            if worker not in failures:
                seconds[worker].append(ask(worker, "turn", "seconds"))
    memory = {worker: ask(worker, "peak_memory", "bytes") for worker in able if worker not in failures}
    done = [worker for worker in able if worker not in failures]
    results = [Result(worker.contender, seconds[worker], memory[worker]) for worker in done]
    return results, list(failures.values())


def ratio_to_best_peer(result: Result, results: list[Result]) -> float | None:
    """How many times as fast as the fastest peer on the same device, by the medians; None without a peer."""
    device = result.contender.device
    peers = [other.median for other in results if not other.contender.ours and other.contender.device == device]
    return min(peers) / result.median if peers else None
