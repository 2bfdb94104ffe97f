"""Running means, curves and run folders."""

import math

import pytest

from experiments.metrics import NonFiniteLoss, Perplexity, RunningMean, draw_curves
from experiments.training_run import RunFolder
from needle.autograd import Tensor
from needle.checkpoint import load_state, save_state


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


def test_perplexity_is_the_exponential_of_the_mean():
    mean = RunningMean()
    perplexity = Perplexity(mean)
    assert math.isnan(float(perplexity))
    mean.add(Tensor(2 * math.log(50)), 1)
    mean.add(0.0, 1)
    assert float(perplexity) == pytest.approx(50, rel=1e-6)
    assert float(Perplexity(800.0)) == math.inf


def test_curves_are_a_picture():
    rows = [{"epoch": e, "split": s, "loss": 1 / e, "accuracy": None} for e in (1, 2) for s in ("train", "test")]
    assert draw_curves(rows, "title").startswith(b"\x89PNG")


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    with RunFolder(tmp_path):
        with pytest.raises(OSError, match="another run is writing to this folder"):
            RunFolder(tmp_path)
    RunFolder(tmp_path).close()


def test_what_killed_runs_were_writing_is_removed(tmp_path):
    (tmp_path / ".checkpoint.safetensors.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / ".users.tmp").write_bytes(b"not ours")
    RunFolder(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == [".users.tmp"]


def test_earlier_runs_are_set_aside_one_by_one(tmp_path):
    with RunFolder(tmp_path) as folder:
        assert folder.set_earlier_run_aside() is None
        for number in (1, 2):
            save_state(folder.checkpoint, {"number": number})
            folder.write_history([], "title")
            assert folder.set_earlier_run_aside() == tmp_path / f"earlier-{number}"
        assert folder.set_earlier_run_aside() is None
    for number in (1, 2):
        assert load_state(tmp_path / f"earlier-{number}" / "checkpoint.safetensors") == {"number": number}
        assert (tmp_path / f"earlier-{number}" / "metrics.jsonl").exists()
