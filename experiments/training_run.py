"""A training run, from its first epoch to its last, that can be stopped at any moment and resumed."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

from experiments.metrics import NonFiniteLoss
from experiments.run_folder import RunFolder
from needle import nn, optim
from needle.amp import GradScaler
from needle.checkpoint import restore_training_state, training_state
from needle.errors import CheckpointError

Figures = dict[str, float]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a message about the progress of the run."""


class TrainingRun:
    """Trains epoch by epoch; after each epoch it saves the state and writes the measured figures.

    A resumed run continues from the end of the last saved epoch with the same random numbers. With the same kernels it
    therefore ends with the same bits as an uninterrupted run: see `arithmetic` in needle/config.py.

    config: the configuration of the run, a JSON object, which is kept in the checkpoint.
    history: one row per epoch and split: epoch, split, the split's figures, samples_per_second, seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: nn.Module,
        optimizer: optim.Optimizer,
        schedule: optim.Schedule | None,
        config: dict[str, Any],
        title: str,
        scaler: GradScaler | None = None,
    ) -> None:
        self.folder = folder
        self.parts = (model, optimizer, schedule, scaler)
        self.config = config
        self.title = title
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self._saved_epoch: int | None = None

    def start(self) -> None:
        """Saves the initial state. The files of an earlier run in the folder must have been set aside."""
        self._save()

    def resume(self, state: dict[str, Any], notice: Callable[[str], None] = warnings.warn) -> None:
        """Restores a state that an earlier run saved. Raises CheckpointError if it is from something else.

        `notice`: see restore_training_state.
        """
        try:
            restore_training_state(state, *self.parts, notice=notice)
            self.epoch, self.history = int(state["epoch"]), list(state["history"])
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.folder.checkpoint}: of another kind of run: {error}") from None
        self._saved_epoch = self.epoch
        self.folder.write_history(self.history, self.title)

    def fit(
        self,
        epochs: int,
        train: Callable[[int], Figures],
        evaluate: dict[str, Callable[[int], Figures]],
        evaluate_at_end: dict[str, Callable[[int], Figures]] | None = None,
        allow_nan: bool = False,
    ) -> None:
        """Runs the remaining epochs up to `epochs`.

        Each epoch calls `train(epoch)` and then, for each split, `evaluate[split](epoch)`; the splits of
        `evaluate_at_end` follow after the last epoch. The functions return the measured figures: "loss", the number of
        "samples", and any others. Raises NonFiniteLoss, unless `allow_nan`, before a state with a loss that is not
        finite would replace a good one; OSError if a file cannot be written; and Interrupted. In every case the last
        checkpoint is intact.
        """
        try:
            while self.epoch < epochs:
                self._measure(self.epoch + 1, {"train": train, **evaluate}, allow_nan)
            measured = {row["split"] for row in self.history if row["epoch"] == self.epoch}
            missing = {split: run for split, run in (evaluate_at_end or {}).items() if split not in measured}
            if missing:
                self._measure(self.epoch, missing, allow_nan)
        except NonFiniteLoss as error:
            raise NonFiniteLoss(f"{error}; {self.standing()}; --allow_nan goes on all the same") from None
        except KeyboardInterrupt:
            raise Interrupted(f"{self.standing()}; --resume goes on from there") from None

    def _measure(self, epoch: int, splits: dict[str, Callable[[int], Figures]], allow_nan: bool) -> None:
        """Adds one row per split to the history, then saves the state."""
        rows = [_row(epoch, split, run) for split, run in splits.items()]
        for row in rows:
            if row["loss"] is None and not allow_nan:
                raise NonFiniteLoss(f"the loss on the {row['split']} split is not finite after epoch {epoch}")
        self.epoch, self.history = epoch, self.history + rows
        self._save()

    def standing(self) -> str:
        """A description of the state in the checkpoint, for the user."""
        if self._saved_epoch is None:
            return "there is no checkpoint yet"
        state = f"the state after epoch {self._saved_epoch}" if self._saved_epoch else "the state before training"
        return f"{state} is in {self.folder.checkpoint}"

    def _save(self) -> None:
        # The history is in the checkpoint too, so resume() can repair the effects of a kill between the two writes.
        progress = {"epoch": self.epoch, "history": self.history, "config": self.config}
        try:
            self.folder.save(training_state(*self.parts) | progress)
            self._saved_epoch = self.epoch
            self.folder.write_history(self.history, self.title)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; {self.standing()}", error.filename) from None


def _row(epoch: int, split: str, run: Callable[[int], Figures]) -> dict[str, Any]:
    """Calls `run` and returns its row of the history. A figure that is not finite becomes None, as JSON has no NaN."""
    begin = time.perf_counter()
    figures = run(epoch)
    seconds = time.perf_counter() - begin
    samples = figures.pop("samples")
    row = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    speed = {"samples_per_second": round(samples / seconds, 1), "seconds": round(seconds, 3)}
    return {"epoch": epoch, "split": split, **row, **speed}
