"""Running means, curves and run folders."""

import math

import pytest

from experiments.curves import draw_curves
from experiments.metrics import NonFiniteLoss, RunningMean
from experiments.run_folder import RunFolder
from needle.autograd import Tensor


def test_the_mean_weighs_by_counts():
    mean = RunningMean()
    assert math.isnan(float(mean))
    mean.add(Tensor(6.0), 3)
    mean.add(2.0, 1)
    assert float(mean) == 2.0


def test_a_loss_that_is_not_finite_is_named_by_its_step():
    mean = RunningMean()
    for step in range(120):
        mean.add(Tensor(float("nan") if step == 70 else 1.0), 1)
    with pytest.raises(NonFiniteLoss, match="nan at step 1071"):
        mean.check_finite(steps_before=1000)


def test_tensors_are_not_read_at_every_step(monkeypatch):
    reads = []
    original = Tensor.__float__
    monkeypatch.setattr(Tensor, "__float__", lambda self: reads.append(1) or original(self))
    mean = RunningMean()
    for _ in range(RunningMean.READ_EVERY - 1):
        mean.add(Tensor(1.0), 1)
        mean.check_finite()
    assert not reads


def test_curves_are_a_picture():
    rows = [{"epoch": e, "split": s, "loss": 1 / e, "accuracy": None} for e in (1, 2) for s in ("train", "test")]
    assert draw_curves(rows, "title").startswith(b"\x89PNG")


def test_a_folder_belongs_to_one_run(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(OSError, match="another run"):
        RunFolder(tmp_path)
    del folder
