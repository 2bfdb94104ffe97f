"""A training run that can be stopped at any moment and resumed: its folder, its checkpoint and its history."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.command_line import FLAGS, adopt_flags, notice
from experiments.metrics import NonFiniteLoss, draw_curves
from needle.checkpoint import load_state, restore_training_state, save_state, training_state, write_atomically
from needle.errors import CheckpointError

CHECKPOINT = "checkpoint.safetensors"


class RunFolder:
    """A folder that one run at a time may write to. Each file in it is replaced atomically. A context manager.

    checkpoint: the state after the last epoch, see needle/checkpoint.py.
    metrics: one line, a JSON object, per epoch and split.
    curves: a picture of the metrics.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Creates the folder. Raises OSError if it cannot be written to, or if another run is using it."""
        self.path = Path(path)
        self.checkpoint = self.path / CHECKPOINT
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.path.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDONLY)
        try:
            self._lock()
            self._remove_temporaries()
            probe = self.path / f".{self.metrics.name}.probe.tmp"
            probe.touch()
            probe.unlink()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Releases the folder for other runs; the end of the process also does, however it ends."""
        os.close(self._descriptor)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(errno.EAGAIN, "another run is writing to this folder", str(self.path)) from None
        except OSError:
            pass  # the file system has no locks

    def _remove_temporaries(self) -> None:
        """Removes the files that a killed run was writing; the lock ensures that nobody is writing them now."""
        for path in (self.checkpoint, self.metrics, self.curves):
            for temporary in self.path.glob(f".{path.name}.*.tmp"):
                temporary.unlink()

    def set_earlier_run_aside(self) -> Path | None:
        """Moves the files of an earlier run to a folder of their own in this one, and returns that folder."""
        # The checkpoint goes last: as long as it is in place, --resume can recreate the others.
        files = [path for path in (self.curves, self.metrics, self.checkpoint) if path.exists()]
        if not files:
            return None
        number = 1
        while (earlier := self.path / f"earlier-{number}").exists():
            number += 1
        earlier.mkdir()
        for path in files:
            path.rename(earlier / path.name)
        return earlier

    def write_history(self, history: Sequence[dict[str, Any]], title: str) -> None:
        """Replaces metrics.jsonl and, if there is something to draw, curves.png."""
        write_atomically(self.metrics, "".join(f"{json.dumps(row)}\n" for row in history).encode())
        if history:
            write_atomically(self.curves, draw_curves(history, title))


def load_checkpoint(path: Path, program: str) -> dict[str, Any]:
    """The state that a run of `program` saved in the file. Raises CheckpointError if it is from something else."""
    state = load_state(path)
    try:
        config = state["config"]
        known = config["program"] == program and isinstance(config["flags"], dict)
    except (KeyError, TypeError):
        known = False
    if not known:
        raise CheckpointError(f"{path}: not of a run of {program}")
    return state


def checkpoint_to_resume(folder: RunFolder, program: str) -> dict[str, Any] | None:
    """With --resume, the state in the folder's checkpoint, whose flags are adopted; otherwise None.

    Raises CheckpointError if there is no checkpoint, or if a flag was given that does not fit it.
    """
    if not FLAGS.resume:
        return None
    if not folder.checkpoint.exists():
        raise CheckpointError(f"{folder.path}: no checkpoint to --resume from")
    state = load_checkpoint(folder.checkpoint, program)
    adopt_flags(state["config"]["flags"], folder.checkpoint)
    return state


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a message about the progress of the run."""


class TrainingRun:
    """The state of a run, saved after each epoch, and the history of what was measured.

    A resumed run continues from the end of the last saved epoch with the same random numbers. With the same kernels it
    therefore ends with the same bits as an uninterrupted run: see `arithmetic` in needle/config.py.

    parts: the model, the optimizer, the schedule and the gradient scaler; the last two may be None.
    config: the configuration of the run, a JSON object, which is kept in the checkpoint.
    allow_nan: go on with a loss that is not finite.
    epoch: the last epoch that was saved, 0 before training; during `save`, the one being saved.
    history: one row per epoch and split: epoch, split, the split's figures, samples_per_second, seconds.

    `with run:` encloses the training. There, Ctrl-C and NonFiniteLoss say which state the checkpoint has.
    """

    def __init__(self, folder: RunFolder, parts: tuple, config: dict[str, Any], title: str, allow_nan: bool) -> None:
        self.folder = folder
        self.parts = parts
        self.config = config
        self.title = title
        self.allow_nan = allow_nan
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []  # of the epoch that is not saved yet
        self._begin = 0.0  # of what is being measured

    def begin(self, checkpoint: dict[str, Any] | None) -> None:
        """Starts from scratch or, given a checkpoint, resumes."""
        if checkpoint is None:
            self.start()
        else:
            self.resume(checkpoint)
            notice(f"resuming after epoch {self.epoch} of {FLAGS.epochs}")

    def start(self) -> None:
        """Sets an earlier run in the folder aside, and saves the state before training."""
        earlier = self.folder.set_earlier_run_aside()
        if earlier is not None:
            notice(f"the results of an earlier run are now in {earlier}")
        self.save(epoch=0)

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Restores a checkpoint. Raises CheckpointError if it is of other data or of another kind of run."""
        config, path = checkpoint["config"], self.folder.checkpoint
        trained_on, data = config.get("data"), self.config.get("data")
        if trained_on != data:
            raise CheckpointError(f"{path}: of a run on {trained_on} data, here are {data}")
        if config.get("data_sha256") != self.config.get("data_sha256"):
            raise CheckpointError(f"{path}: of a run on {data} too, but with another content")
        try:
            restore_training_state(checkpoint, *self.parts, notice=notice)
            self.epoch, self.history = int(checkpoint["epoch"]), list(checkpoint["history"])
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: of another kind of run: {error}") from None
        self.folder.write_history(self.history, self.title)

    def __enter__(self) -> TrainingRun:
        self._rows = []
        self._begin = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _) -> None:
        if isinstance(error, NonFiniteLoss):
            raise NonFiniteLoss(f"{error}; {self._standing()}; --allow_nan goes on all the same") from None
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"{self._standing()}; --resume goes on from there") from None

    def record(self, epoch: int, split: str, *, samples: int, **figures: float) -> None:
        """Adds a row to the history, with the time since the row or the epoch before; `save` writes it.

        samples: how many were computed. figures: "loss" and others; one that is not finite becomes None, as JSON has
        no NaN. Raises NonFiniteLoss for such a loss, unless `allow_nan`, so that it replaces no good state.
        """
        seconds = time.perf_counter() - self._begin
        if not math.isfinite(figures["loss"]) and not self.allow_nan:
            raise NonFiniteLoss(f"the loss on the {split} split is not finite after epoch {epoch}")
        row = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        speed = {"samples_per_second": round(samples / seconds, 1), "seconds": round(seconds, 3)}
        self._rows.append({"epoch": epoch, "split": split, **row, **speed})
        self._begin = time.perf_counter()

    def is_recorded(self, split: str) -> bool:
        """Whether the history has a row of the split for the last saved epoch."""
        return any(row["epoch"] == self.epoch and row["split"] == split for row in self.history)

    def save(self, epoch: int) -> None:
        """Replaces the checkpoint, metrics.jsonl and curves.png, after `epoch`.

        Raises OSError, with the state that the checkpoint then has, if a file cannot be written.
        """
        self.epoch, self.history, self._rows = epoch, self.history + self._rows, []
        # The checkpoint has the history too, so a resumed run repairs what a kill between the two writes left behind.
        progress = {"epoch": self.epoch, "history": self.history, "config": self.config}
        try:
            save_state(self.folder.checkpoint, training_state(*self.parts) | progress)
            self.folder.write_history(self.history, self.title)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; {self._standing()}", error.filename) from None
        self._begin = time.perf_counter()

    def _standing(self) -> str:
        """A description of the state in the checkpoint, for the user.

        The file itself says it: Ctrl-C may come at any moment of a `save`, also right after the file's replacement.
        """
        if not self.folder.checkpoint.exists():
            return "there is no checkpoint yet"
        try:
            epoch = load_state(self.folder.checkpoint)["epoch"]
        except CheckpointError as error:
            return str(error)
        state = f"the state after epoch {epoch}" if epoch else "the state before training"
        return f"{state} is in {self.folder.checkpoint}"

    def final_figures(self, measure: str, best_of: str, speed: str) -> dict[str, Any]:
        """The last loss and `measure` of each split, the best one, the speed and time of all epochs, and peak memory.

        measure: "accuracy" or "perplexity". best_of: the split whose best `measure` is added. speed: the name of the
        training's samples per second.
        """
        splits = dict.fromkeys(row["split"] for row in self.history)
        rows = {split: [row for row in self.history if row["split"] == split] for split in splits}
        figures = {"epochs": self.epoch}
        for split in splits:
            figures |= {f"{split}_{name}": rows[split][-1][name] for name in ("loss", measure)}
        best = {"accuracy": max, "perplexity": min}[measure]
        known = [row[measure] for row in rows[best_of] if row[measure] is not None]
        seconds = sum(row["seconds"] for row in rows["train"])
        samples = sum(row["seconds"] * row["samples_per_second"] for row in rows["train"])
        return figures | {
            f"best_{best_of}_{measure}": best(known, default=None),
            speed: round(samples / seconds, 1),
            "seconds": round(sum(row["seconds"] for row in self.history), 3),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "out": str(self.folder.path),
        }
