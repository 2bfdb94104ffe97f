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
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.row import Row, Sizes
from needle.backend_ndarray import cpu, cuda, default_device
from needle.errors import NeedleError


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work: the module that does, what its `configure` is given, and the environment.

    One with `images_only` is another one's double but for work on images.
    """

    name: str
    module: str
    configuration: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    images_only: bool = False

    @property
    def ours(self) -> bool:
        return self.module == "benchmarks.needle_work"

    @property
    def device(self) -> str:
        return self.configuration.get("device", "cpu")


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


def contenders() -> list[Contender]:
    """Needle on every device, with every provider of kernels; then NumPy and, where it is installed, PyTorch.

    Raises DeviceError where the CPU's kernels do not load.
    """
    default_device()
    found = []
    for name, device in (("cpu", cpu()), ("cuda", cuda())):
        if device.enabled():
            variable = f"NEEDLE_{name.upper()}_KERNELS"
            providers = device.kernels.providers() if name == "cpu" else ["native", "library", "auto"]
            found += [
                Contender(f"needle {name} {provider}", "benchmarks.needle_work", {"device": name}, {variable: provider})
                for provider in providers
            ]
    found.append(Contender("numpy", "benchmarks.numpy_work"))
    if has_pytorch():
        found += _pytorch("pytorch", {})
        if cuda().enabled() and _pytorch_has_cuda():
            found += _pytorch("pytorch cuda", {"device": "cuda"})
    return found


def _pytorch(name: str, configuration: dict[str, Any]) -> list[Contender]:
    module = "benchmarks.pytorch_work"
    return [
        Contender(name, module, {"channels_last": False, **configuration}),
        Contender(f"{name} channels-last", module, {"channels_last": True, **configuration}, images_only=True),
    ]


def has_pytorch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _pytorch_has_cuda() -> bool:
    """Asked of another process: see above for what importing PyTorch would do to this one."""
    program = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True).returncode == 0


class WorkerProcess:
    """A contender's process: see worker.py. A context manager."""

    def __init__(self, contender: Contender, threads: int) -> None:
        self.contender = contender
        environment = {
            **os.environ,
            **contender.environment,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-m", "benchmarks.worker", contender.module, json.dumps(contender.configuration)]
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


def compete(row: Row, sizes: Sizes, workers: list[WorkerProcess], runs: int) -> list[Result]:
    """The results of those who can do the work, after `runs` rounds. Raises ContestError."""
    able = [
        worker
        for worker in workers
        if (row.images or not worker.contender.images_only)
        and worker.ask("prepare", work=row.work, sizes=sizes)["prepared"]
    ]
    seconds = {worker.contender.name: [] for worker in able}
    for turn in range(runs):
        first = turn % len(able)
        for worker in able[first:] + able[:first]:
            seconds[worker.contender.name].append(worker.ask("turn")["seconds"])
    return [
        Result(worker.contender, seconds[worker.contender.name], worker.ask("peak_memory")["bytes"]) for worker in able
    ]


def ratio_to_best_peer(result: Result, results: list[Result]) -> float | None:
    """How many times as fast as the fastest peer on the same device, by the medians; None without a peer."""
    device = result.contender.device
    peers = [other.median for other in results if not other.contender.ours and other.contender.device == device]
    return min(peers) / result.median if peers else None
