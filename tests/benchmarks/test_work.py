"""All contenders do the same work: the same numbers come out, on tiny sizes.

PyTorch is among them where it is installed, as in the target test_work_with_pytorch, which is tagged manual; so is JAX.
"""

import importlib
import importlib.util

import numpy as np
import pytest

import needle as ndl
from benchmarks import headline_rows, kernel_rows, machine, needle_work, numpy_work
from benchmarks.contest import has_pytorch
from experiments.models.language_model import LanguageModel
from experiments.models.resnet9 import ResNet9

PEERS = ["numpy_work"] + ["pytorch_work"] * has_pytorch() + ["jax_work"] * (importlib.util.find_spec("jax") is not None)
# Of models that each starts with weights of its own
STEPS = ("resnet9_step", "resnet9_step_bfloat16", "resnet9_step_float16", "lstm_step", "lstm_step_bfloat16", "mlp_step",
         "gpt_step")  # fmt: skip
LAYERS = ("lstm", "lstm_training", "resnet9_inference")
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
        assert peer != "pytorch_work"  # which does everything
        return
    sizes = row.sizes_for(quick=True)
    ours, theirs = getattr(needle_work, row.work)(**sizes), build(**sizes)
    if row.cold:
        assert ours is None  # only compilers do it
        return
    if row.work == "dropout_mask":
        assert {*as_numpy(ours()), *as_numpy(theirs())} <= {0.0, 2.0}
        return
    for _ in range(2):  # a second call does the same again, or the next step
        mine, other = as_numpy(ours()), as_numpy(theirs())
        assert mine.shape == other.shape and np.isfinite(mine).all() and np.isfinite(other).all()
        if row.work not in STEPS + LAYERS:
            rtol = {"float16": 2e-3, "bfloat16": 1e-2}.get(str(mine.dtype), 1e-3)  # more than a unit in the last place
            np.testing.assert_allclose(mine.astype(np.float64), other, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("row", [row for row in ROWS if row.compiled], ids=lambda row: row.work)
def test_jitted_work_gives_the_same_bits(row, monkeypatch, device):
    def results(jit, calls):
        ndl.manual_seed(0)
        monkeypatch.setattr(needle_work, "_jit", jit)
        monkeypatch.setattr(needle_work, "_device", device)
        work = getattr(needle_work, row.work.replace("_compile", work_of[jit]))(**row.sizes_for(quick=True))
        return [work().numpy().tobytes() for _ in range(calls)], work

    # A cold row's call is the third one of the work that it compiles.
    work_of = {True: "_compile", False: "_step" if row.work == "resnet9_compile" else "_training"}
    expected, _ = results(False, 5)
    got, work = results(True, 1 if row.cold else 5)
    assert got == (expected[2:3] if row.cold else expected)
    assert row.cold or len(work.programs()) == 1


@pytest.mark.parametrize("row", [row for row in ROWS if row.work in STEPS], ids=lambda row: row.work)
def test_training_steps_learn_the_one_batch(row):
    for module in [needle_work] + [importlib.import_module(f"benchmarks.{peer}") for peer in PEERS]:
        if hasattr(module, row.work):
            step = getattr(module, row.work)(**row.sizes_for(quick=True))
            losses = [float(as_numpy(step())) for _ in range(200)]
            assert max(losses[-5:]) < 0.95 * losses[0], module


def test_models_have_as_many_parameters_as_ours():
    if not has_pytorch():
        assert "pytorch_work" not in PEERS  # and there is no model to compare
        return
    from benchmarks import pytorch_work

    for ours, theirs in (
        (ResNet9(10), pytorch_work.resnet9()),
        (LanguageModel(50, 8, 2), pytorch_work.LanguageModel(50, 8, 2)),
        (needle_work.GPT(50, 2, 8, 4, 6), pytorch_work.GPT(50, 2, 8, 4, 6)),
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
