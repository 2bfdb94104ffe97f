"""The folder that a training run writes to: a checkpoint, metrics.jsonl and curves.png."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.curves import draw_curves
from needle.checkpoint import save_state, write_atomically

CHECKPOINT = "checkpoint.safetensors"


class RunFolder:
    """A folder that one run at a time may write to. Each file in it is replaced atomically. A context manager.

    checkpoint: the state after the last epoch, see needle/checkpoint.py.
    metrics: one line, a JSON object, per epoch and split.
    curves: a picture of the metrics.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Creates the folder. Raises OSError if it cannot be written to, or if another run is using it."""
        self.folder = Path(folder)
        self.checkpoint = self.folder / CHECKPOINT
        self.metrics = self.folder / "metrics.jsonl"
        self.curves = self.folder / "curves.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            self._lock()
            self._remove_temporaries()
            probe = self.folder / f".{self.metrics.name}.probe.tmp"
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
            raise BlockingIOError(errno.EAGAIN, "another run is writing to this folder", str(self.folder)) from None
        except OSError:
            pass  # the file system has no locks

    def _remove_temporaries(self) -> None:
        """Removes the files that a killed run was writing; the lock ensures that nobody is writing them now."""
        for path in (self.checkpoint, self.metrics, self.curves):
            for temporary in self.folder.glob(f".{path.name}.*.tmp"):
                temporary.unlink()

    def set_earlier_run_aside(self) -> Path | None:
        """Moves the files of an earlier run to a folder of their own in this one, and returns that folder."""
        # The checkpoint goes last: as long as it is in place, --resume can recreate the others.
        files = [path for path in (self.curves, self.metrics, self.checkpoint) if path.exists()]
        if not files:
            return None
        number = 1
        while (earlier := self.folder / f"earlier-{number}").exists():
            number += 1
        earlier.mkdir()
        for path in files:
            path.rename(earlier / path.name)
        return earlier

    def save(self, state: Any) -> None:
        """Replaces the checkpoint. Raises OSError, and leaves the old one, if the new one cannot be written."""
        save_state(self.checkpoint, state)

    def write_history(self, history: Sequence[dict[str, Any]], title: str) -> None:
        """Replaces metrics.jsonl and, if there is something to draw, curves.png."""
        write_atomically(self.metrics, "".join(f"{json.dumps(row)}\n" for row in history).encode())
        if history:
            write_atomically(self.curves, draw_curves(history, title))
