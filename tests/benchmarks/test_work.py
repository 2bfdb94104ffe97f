"""All contenders do the same work: the same numbers come out, on tiny sizes.

PyTorch is among them where it is installed, as in the target test_work_with_pytorch, which is tagged manual.
"""

import importlib

import numpy as np
import pytest

from benchmarks import headline_rows, kernel_rows, machine, needle_work, numpy_work
from benchmarks.contest import has_pytorch
from experiments.models.language_model import LanguageModel
from experiments.models.resnet9 import ResNet9

PEERS = ["numpy_work"] + ["pytorch_work"] * has_pytorch()
# Of models that each starts with weights of its own
STEPS = ("resnet9_step", "resnet9_step_bfloat16", "resnet9_step_float16", "lstm_step", "lstm_step_bfloat16")
LAYERS = ("lstm", "lstm_training")
ROWS = list({row.work: row for row in headline_rows.ROWS + kernel_rows.ROWS}.values())


def as_numpy(result):
    """Of a Tensor of ours or of PyTorch's, an NDArray, or what NumPy gives."""
    result = result.detach() if hasattr(result, "detach") else result
    result = result.float() if str(getattr(result, "dtype", "")) == "torch.bfloat16" else result  # NumPy has none
    return np.asarray(result.numpy() if hasattr(result, "numpy") else result)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.work)
def test_the_same_numbers_come_out(row, peer):
    build = getattr(importlib.import_module(f"benchmarks.{peer}"), row.work, None)
    if build is None:
        assert peer == "numpy_work"  # PyTorch does everything
        return
    sizes = row.sizes_for(quick=True)
    ours, theirs = getattr(needle_work, row.work)(**sizes), build(**sizes)
    if row.work == "dropout_mask":
        assert {*as_numpy(ours()), *as_numpy(theirs())} <= {0.0, 2.0}
        return
    for _ in range(2):  # a second call does the same again, or the next step
        mine, other = as_numpy(ours()), as_numpy(theirs())
        assert mine.shape == other.shape and np.isfinite(mine).all() and np.isfinite(other).all()
        if row.work not in STEPS + LAYERS:
            rtol = {"float16": 2e-3, "bfloat16": 1e-2}.get(str(mine.dtype), 1e-3)  # more than a unit in the last place
            np.testing.assert_allclose(mine.astype(np.float64), other, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("row", [row for row in ROWS if row.work in STEPS], ids=lambda row: row.work)
def test_training_steps_learn_the_one_batch(row):
    for module in [needle_work] + [importlib.import_module(f"benchmarks.{peer}") for peer in PEERS]:
        if hasattr(module, row.work):
            step = getattr(module, row.work)(**row.sizes_for(quick=True))
            losses = [float(as_numpy(step())) for _ in range(200)]
            assert max(losses[-5:]) < 0.95 * losses[0], module


def test_models_have_as_many_parameters_as_ours():
    if not has_pytorch():
        assert PEERS == ["numpy_work"]  # and there is no model to compare
        return
    from benchmarks import pytorch_work

    for ours, theirs in (
        (ResNet9(10), pytorch_work.resnet9()),
        (LanguageModel(50, 8, 2), pytorch_work.LanguageModel(50, 8, 2)),
    ):
        assert sum(p.size for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_channels_last_images_are_so_in_memory_and_the_same():
    image = needle_work._images(2, 3, 4)
    assert image.shape == (2, 3, 4, 4) and image.cached_data.strides[1] == 1
    np.testing.assert_array_equal(image.numpy(), needle_work.normal(2, 3, 4, 4))


def test_copy_copies():
    for module in (needle_work, numpy_work):
        np.testing.assert_array_equal(as_numpy(module.copy(n=10)()), needle_work.normal(10))
    assert machine.PEAK_BANDWIDTH.amounts(n=10**9)["GB"] == pytest.approx(8)
