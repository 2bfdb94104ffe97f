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
import selectors
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
    a row says that compilers do. `python` is the interpreter, if not this one: what runs in it cannot import
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


class Absent(ContestError):
    """A contender cannot do the work here, which is nobody's mistake."""


MOST_SECONDS_TO_COMPILE = 180  # of a contender that compiles: its preparation, or one turn
MOST_COLD_TURNS = 3


DEVICES = {"cpu": cpu, "cuda": cuda}  # those that programs train on; the reference is no contender


def contenders(
    devices: Collection[str] = DEVICES, pytorch_python: str | None = None, jax_python: str | None = None
) -> list[Contender]:
    """Needle on every device, with every provider of kernels, and the last of these, the default, with ndl.jit.

    Then NumPy and, where it is installed, PyTorch, eager and compiled, and with `jax_python` JAX on the CPU.

    devices: those to take of those that there are. pytorch_python: PyTorch's interpreter, if not this one. jax_python:
    JAX's interpreter.
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
            jit = {"configuration": {"device": name, "jit": True}, "environment": {variable: providers[-1]}}
            found.append(
                Contender(f"needle {name} {providers[-1]} jit", "benchmarks.needle_work", **jit, compiled_only=True)
            )
    found.append(Contender("numpy", "benchmarks.numpy_work"))
    if pytorch_python is not None or has_pytorch():
        found += _pytorch(pytorch_python)
    if jax_python is not None:
        environment = {"JAX_PLATFORMS": "cpu"}
        found.append(
            Contender("jax", "benchmarks.jax_work", environment=environment, compiled_only=True, python=jax_python)
        )
    found = [contender for contender in found if contender.device in devices]
    if not any(contender.ours for contender in found):
        raise DeviceError(cuda().reason)
    return found


def _pytorch(python: str | None) -> list[Contender]:
    """Eager and compiled, on each device that it has; the CPU's also compiles with images channels-last."""
    pytorch = functools.partial(Contender, module="benchmarks.pytorch_work", python=python)
    found = []
    for name, device in [("pytorch", "cpu")] + [("pytorch cuda", "cuda")] * _pytorch_has_cuda(python):
        on = {"device": device}
        found += [
            pytorch(name, configuration=on),
            pytorch(f"{name} channels-last", configuration={**on, "channels_last": True}, images_only=True),
        ]
        compiled = {**on, "compiled": True}
        found.append(pytorch(f"{name} compiled", configuration=compiled, compiled_only=True))
        if device == "cpu":
            configuration = {**compiled, "channels_last": True}
            found.append(
                pytorch(
                    f"{name} compiled channels-last", configuration=configuration, compiled_only=True, images_only=True
                )
            )
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
        """The answer. Raises ContestError where there is none, or the work failed, and Absent where it cannot be done.

        The latter also where a contender that compiles takes more than MOST_SECONDS_TO_COMPILE; its process then ends.
        """
        try:
            print(json.dumps({"request": request, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # its last words may say why
        if self.contender.compiled_only and not self._answers_within(MOST_SECONDS_TO_COMPILE):
            self._process.kill()
            raise Absent(f"{self.contender.name}: not compiled after {MOST_SECONDS_TO_COMPILE} s")
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended, with status {self._process.wait()}"}
        if "error" in answer:
            raise ContestError(f"{self.contender.name}: {answer['error']}")
        if "absent" in answer:
            raise Absent(f"{self.contender.name}: {answer['absent']}")
        return answer

    def _answers_within(self, seconds: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return bool(selector.select(seconds))


@contextlib.contextmanager
def start(contenders: list[Contender], threads: int) -> Iterator[list[WorkerProcess]]:
    """The contenders' processes, which end with the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WorkerProcess(contender, threads)) for contender in contenders]


def compete(
    row: Row, sizes: Sizes, workers: list[WorkerProcess], runs: int
) -> tuple[list[Result], list[str], list[str]]:
    """The results of those who can do the work, after `runs` rounds; what those said who failed; and who is absent."""
    failures: dict[WorkerProcess, str] = {}
    absent: dict[WorkerProcess, str] = {}

    def ask(worker: WorkerProcess, request: str, answer: str, **arguments: Any) -> Any:
        try:
            return worker.ask(request, **arguments)[answer]
        except ContestError as error:
            (absent if isinstance(error, Absent) else failures)[worker] = str(error)
            return None

    entered = [worker for worker in workers if worker.contender.takes_part(row)]
    task = {"work": row.work, "sizes": sizes, "cold": row.cold}
    able = [worker for worker in entered if ask(worker, "prepare", "prepared", **task)]
    seconds = {worker: [] for worker in able}
    for turn in range(min(runs, MOST_COLD_TURNS) if row.cold else runs):
        first = turn % max(1, len(able))
        for worker in able[first:] + able[:first]:
            if worker not in failures and worker not in absent:
                seconds[worker].append(ask(worker, "turn", "seconds"))
    still_there = [worker for worker in able if worker not in failures and worker not in absent]
    memory = {worker: ask(worker, "peak_memory", "bytes") for worker in still_there}
    done = [worker for worker in still_there if worker not in failures and worker not in absent]
    results = [Result(worker.contender, seconds[worker], memory[worker]) for worker in done]
    return results, list(failures.values()), list(absent.values())


def ratio_to_best_peer(result: Result, results: list[Result]) -> float | None:
    """How many times as fast as the fastest peer on the same device, by the medians; None without a peer."""
    device = result.contender.device
    peers = [other.median for other in results if not other.contender.ours and other.contender.device == device]
    return min(peers) / result.median if peers else None
