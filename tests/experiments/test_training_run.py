"""Runs of a small model: what is saved and when, and what stops a run."""

import errno
import json
import math

import numpy as np
import pytest

from experiments import training_run
from experiments.metrics import NonFiniteLoss
from experiments.training_run import Interrupted, RunFolder, TrainingRun
from needle import nn, optim
from needle.checkpoint import load_state, write_atomically
from needle.errors import CheckpointError
from tests.experiments.program import no_picture


class Run:
    """A run whose training adds 1 to the bias, and whose losses are given; an exception among them is raised."""

    def __init__(self, folder, losses, test_losses=None, features=2, allow_nan=False):
        self.model = nn.Linear(features, 1)
        self.model.bias.data *= 0
        self.losses, self.test_losses = losses, test_losses or [0.5] * len(losses)
        optimizer = optim.SGD(self.model.parameters(), lr=0.1)
        self.run = TrainingRun(RunFolder(folder), (self.model, optimizer), {"seed": 3}, "title", allow_nan)

    def fit(self, epochs=None, at_end=None):
        """The loop of a program: each epoch trains and tests; `at_end(epoch)` is the loss of a last measurement."""
        with self.run as run:
            for epoch in range(run.epoch + 1, (epochs or len(self.losses)) + 1):
                run.record(epoch, "train", loss=self.train(epoch), accuracy=0.5, samples=10)
                run.record(epoch, "test", loss=self.test_losses[epoch - 1], accuracy=0.25, samples=5)
                run.save(epoch)
            if at_end is not None and not run.is_recorded("final"):
                run.record(run.epoch, "final", loss=at_end(run.epoch), samples=5)
                run.save(run.epoch)
        return self

    def close(self):
        self.run.folder.close()

    def train(self, epoch):
        loss = self.losses[epoch - 1]
        if isinstance(loss, BaseException):
            raise loss
        self.model.bias.data += 1
        return loss

    @property
    def bias(self):
        return self.model.bias.numpy().item()


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(training_run, "draw_curves", no_picture)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def saved(folder):
    """What the files in the folder say: the epoch and the bias of the checkpoint, the epochs of the metrics."""
    state = load_state(folder / "checkpoint.safetensors")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == state["history"]
    return state["epoch"], state["model"]["bias"].item(), [row["epoch"] for row in rows if row["split"] == "train"]


def test_a_run_saves_its_state_before_training_and_after_each_epoch(folder):
    states = []
    run = Run(folder, [3.0, 2.0])
    train = run.train
    run.train = lambda epoch: states.append(saved(folder)) or train(epoch)
    run.run.start()
    run.fit()
    assert states == [(0, 0.0, []), (1, 1.0, [1])]
    assert saved(folder) == (2, 2.0, [1, 2])
    row = run.run.history[0]
    assert row.keys() == {"epoch", "split", "loss", "accuracy", "samples_per_second", "seconds"}
    assert (row["epoch"], row["split"], row["loss"], row["accuracy"]) == (1, "train", 3.0, 0.5)


def resumed(folder, losses):
    run = Run(folder, losses)
    state = load_state(run.run.folder.checkpoint)
    assert state["config"] == {"seed": 3}
    run.run.resume(state)
    return run


def test_a_resumed_run_goes_on_after_the_last_epoch_saved(folder):
    run = Run(folder, [3.0])
    run.run.start()
    run.fit()
    drawn = np.random.rand()
    run.close()
    run = resumed(folder, [None, 2.0, 1.0])  # the first epoch's loss is not asked for
    assert run.bias == 1.0 and np.random.rand() == drawn
    run.fit()
    assert saved(folder) == (3, 3.0, [1, 2, 3])


def test_metrics_that_a_kill_left_behind_the_checkpoint_are_mended(folder):
    run = Run(folder, [3.0, 2.0])
    run.run.start()
    run.fit()
    run.close()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:2]))
    resumed(folder, [])
    assert (folder / "metrics.jsonl").read_text() == "".join(lines)


@pytest.mark.parametrize("loss", [math.nan, math.inf, NonFiniteLoss("the loss is nan at step 57")])
def test_a_training_loss_that_is_not_finite_keeps_the_last_good_state(folder, loss):
    run = Run(folder, [3.0, loss, 1.0])
    run.run.start()
    with pytest.raises(NonFiniteLoss, match="the state after epoch 1 is in .*; --allow_nan goes on") as caught:
        run.fit()
    assert isinstance(loss, float) or "nan at step 57" in str(caught.value)
    assert saved(folder) == (1, 1.0, [1])


def test_weights_that_went_bad_in_the_last_step_show_in_the_test_loss(folder):
    run = Run(folder, [3.0, 2.0], test_losses=[2.0, math.nan])
    run.run.start()
    with pytest.raises(NonFiniteLoss, match="the loss on the test split is not finite after epoch 2"):
        run.fit()
    assert saved(folder) == (1, 1.0, [1])


def test_allow_nan_goes_on(folder):
    run = Run(folder, [3.0, math.nan], allow_nan=True)
    run.run.start()
    run.fit()
    assert saved(folder) == (2, 2.0, [1, 2])
    assert run.run.history[2]["loss"] is None


def test_an_interrupt_says_where_the_run_stands(folder):
    run = Run(folder, [3.0, KeyboardInterrupt()])
    run.run.start()
    with pytest.raises(Interrupted, match="the state after epoch 1 is in .*; --resume goes on from there"):
        run.fit()
    assert saved(folder) == (1, 1.0, [1])


@pytest.mark.parametrize(
    ("interrupted", "moment", "epoch"),
    [
        ("needle.checkpoint.write_atomically", "before", 1),  # of the checkpoint
        ("needle.checkpoint.write_atomically", "after", 2),
        ("experiments.training_run.write_atomically", "before", 2),  # of the metrics
    ],
)
def test_an_interrupt_of_a_save_names_the_epoch_in_the_file(interrupted, moment, epoch, folder, monkeypatch):
    run = Run(folder, [3.0, 2.0])
    run.run.start()
    run.fit(epochs=1)

    def interrupt(path, content):
        if moment == "after":
            write_atomically(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, interrupt)
    with pytest.raises(Interrupted, match=f"the state after epoch {epoch} is in .*; --resume goes on from there"):
        run.fit()
    assert load_state(run.run.folder.checkpoint)["epoch"] == epoch


def test_a_checkpoint_that_somebody_has_damaged_or_removed(folder):
    def damaged(epoch):
        run.run.folder.checkpoint.write_bytes(b"{")
        raise KeyboardInterrupt

    def removed(epoch):
        run.run.folder.checkpoint.unlink()
        raise KeyboardInterrupt

    run = Run(folder, [3.0])
    run.run.start()
    run.train = damaged
    with pytest.raises(Interrupted, match="checkpoint.safetensors: truncated"):
        run.fit()
    run.train = removed
    with pytest.raises(Interrupted, match="there is no checkpoint yet"):
        run.fit()


def test_a_full_disk_says_where_the_run_stands(folder, monkeypatch):
    run = Run(folder, [3.0, 2.0])
    run.run.start()
    run.fit(epochs=1)

    def no_room(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("needle.checkpoint.write_atomically", no_room)
    with pytest.raises(OSError, match="No space left on device; the state after epoch 1 is in"):
        run.fit()
    assert saved(folder) == (1, 1.0, [1])


def test_a_state_of_another_model(folder):
    run = Run(folder, [3.0])
    run.run.start()
    run.close()
    other = Run(folder, [3.0], features=5)
    with pytest.raises(CheckpointError, match="checkpoint.safetensors: of another kind of run: .*shape"):
        other.run.resume(load_state(other.run.folder.checkpoint))


def test_what_is_measured_at_the_end_is_measured_once(folder):
    measured = []

    def at_end(epoch):
        measured.append((epoch, saved(folder)[0]))
        return 0.25

    run = Run(folder, [3.0, 2.0, 1.0])
    run.run.start()
    run.fit(epochs=2, at_end=at_end)
    assert measured == [(2, 2)]  # of a state that is saved before
    assert [row["split"] for row in run.run.history] == ["train", "test", "train", "test", "final"]
    assert load_state(run.run.folder.checkpoint)["history"] == run.run.history
    run.close()
    run = resumed(folder, [None, None, 1.0])
    run.fit(epochs=2, at_end=at_end)
    assert measured == [(2, 2)]
    run.fit(epochs=3, at_end=at_end)
    assert measured == [(2, 2), (3, 3)]


def test_a_run_killed_while_it_measures_at_the_end_has_lost_nothing(folder):
    run = Run(folder, [3.0])
    run.run.start()

    def killed(epoch):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="the state after epoch 1"):
        run.fit(at_end=killed)
    run.close()
    run = resumed(folder, [None])
    run.fit(epochs=1, at_end=lambda epoch: 0.25)
    assert [row["split"] for row in run.run.history] == ["train", "test", "final"]
    assert run.bias == 1.0


def test_a_loss_that_is_not_finite_at_the_end(folder):
    run = Run(folder, [3.0])
    run.run.start()
    with pytest.raises(NonFiniteLoss, match="the loss on the final split is not finite after epoch 1"):
        run.fit(at_end=lambda epoch: math.nan)
    run.run.allow_nan = True
    run.fit(at_end=lambda epoch: math.nan)
    assert run.run.history[-1]["loss"] is None
