"""ptb_lstm from its command line: what it prints and writes, how it is resumed, and what a mistake looks like."""

import json
import math
import re

import numpy as np
import pytest

from needle.backend_ndarray import cpu
from needle.checkpoint import load_state, save_state
from tests.experiments.program import Program, metrics, weights, without_times
from tests.experiments.texts import PERPLEXITY, WORDS, write_text

SMALL = ["--data_dir=data", "--hidden_size=8", "--batch_size=4", "--seq_len=6", "--epochs=2", "--lr=0.1"]

PROGRAM = Program("ptb_lstm")


@pytest.fixture(autouse=True)
def text(tmp_path):
    return write_text(tmp_path / "data")


def test_a_run_writes_everything_and_ends_with_one_json_line(tmp_path):
    finished = PROGRAM.run_in_own_process(tmp_path, *SMALL, "--out=out")  # relative to where the user is
    assert finished.returncode == 0, finished.stderr
    (line,) = finished.stdout.splitlines()
    figures = json.loads(line)
    lstm_layer = 2 * (8 + 1) * 4 * 8  # W_ih and W_hh, with a bias each
    assert figures["parameters"] == WORDS * 8 + 2 * lstm_layer + (8 + 1) * WORDS
    assert figures["program"] == "ptb_lstm" and figures["seq_model"] == "lstm" and figures["data"] == "other text"
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.safetensors", "curves.png", "metrics.jsonl"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = metrics(out)
    assert [(row["epoch"], row["split"]) for row in rows] == [
        (1, "train"), (1, "valid"), (2, "train"), (2, "valid"), (2, "test")
    ]  # fmt: skip
    for row in rows:
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"])) and row["samples_per_second"] > 0
    for row in rows[2:]:
        assert figures[f"{row['split']}_perplexity"] == row["perplexity"]
    assert figures["best_valid_perplexity"] == min(rows[1]["perplexity"], rows[3]["perplexity"])
    assert figures["words_per_second"] > 0 and figures["peak_memory_mib"] > 0 and figures["out"] == str(out)


def test_without_data_it_takes_the_synthetic_text(tmp_path):
    flags = ["--hidden_size=8", "--limit_batches=2", "--epochs=1", "--out=out"]
    finished = PROGRAM.run(tmp_path, *flags)
    assert finished.returncode == 0 and '"data": "synthetic"' in finished.stdout
    assert "using made-up text instead" in finished.stderr and "train: 2/2" in finished.stderr


@pytest.mark.parametrize("seq_model, above_the_best", [("lstm", 1.1), ("rnn", 1.1), ("transformer", 1.5)])
def test_training_learns(tmp_path, seq_model, above_the_best):
    write_text(tmp_path / "data", sentences=1000)
    flags = ["--hidden_size=32", "--num_layers=1", "--lr=0.5", "--epochs=12", "--decay_after=8", "--out=out"]
    figures = PROGRAM.result(tmp_path, "--data_dir=data", *flags, f"--seq_model={seq_model}")
    assert 0.95 * PERPLEXITY < figures["test_perplexity"] < above_the_best * PERPLEXITY


def test_tied_weights_and_dropout(tmp_path):
    flags = [*SMALL, "--tie_weights", "--dropout=0.2", "--out=out"]
    figures = PROGRAM.result(tmp_path, *flags)
    assert figures["parameters"] == WORDS * 8 + 2 * 2 * (8 + 1) * 4 * 8 + WORDS


def test_parameters_start_uniform_and_a_transformers_layers_as_they_are(tmp_path):
    flags = [*SMALL, "--lr=1e-30", "--epochs=1", "--hidden_size=32", "--init_scale=0.03"]
    PROGRAM.result(tmp_path, *flags, "--out=lstm")
    for name, values in load_state(tmp_path / "lstm" / "checkpoint.safetensors")["model"].items():
        assert 0.025 < np.abs(values).max() <= 0.03 or values.size < 40, name
    PROGRAM.result(tmp_path, *flags, "--seq_model=transformer", "--out=transformer")
    model = load_state(tmp_path / "transformer" / "checkpoint.safetensors")["model"]
    assert 0.025 < np.abs(model["embedding.weight"]).max() <= 0.03
    assert 0.025 < np.abs(model["linear.weight"]).max() <= 0.03
    assert 0.025 < np.abs(model["seq_model.position_embedding.weight"]).max() <= 0.03
    assert np.all(model["norm.weight"] == 1)
    assert np.all(model["seq_model.layers.0.prenorm.weight"] == 1)


@pytest.mark.parametrize("seq_model, rate", [("lstm", 1.0), ("rnn", 0.1), ("transformer", 0.1)])
def test_the_learning_rate_that_is_not_given_suits_the_model(tmp_path, seq_model, rate):
    flags = [flag for flag in SMALL if not flag.startswith("--lr")] + ["--epochs=1", f"--seq_model={seq_model}"]
    PROGRAM.result(tmp_path, *flags, "--out=out")
    state = load_state(tmp_path / "out" / "checkpoint.safetensors")
    assert state["optimizer"]["lr"] == state["config"]["flags"]["lr"] == rate


def test_the_learning_rate_falls_after_some_epochs(tmp_path):
    """lr * lr_decay^max(0, epoch - decay_after)"""
    PROGRAM.result(tmp_path, *SMALL, "--lr=0.8", "--decay_after=2", "--epochs=4", "--out=out")
    state = load_state(tmp_path / "out" / "checkpoint.safetensors")
    assert state["optimizer"]["lr"] == pytest.approx(0.8 * 0.5**2)
    # An epoch with no learning rate to speak of changes nothing: the second, but not the first.
    flags = [*SMALL, "--decay_after=1", "--lr_decay=1e-30"]
    PROGRAM.result(tmp_path, *flags, "--epochs=1", "--out=one")
    PROGRAM.result(tmp_path, *flags, "--epochs=2", "--out=two")
    (row, *_, last) = (row for row in metrics(tmp_path / "two") if row["split"] == "valid")
    assert row["loss"] == last["loss"]
    assert row["loss"] == metrics(tmp_path / "one")[1]["loss"] != metrics(tmp_path / "out")[3]["loss"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("seq_model", ["lstm", "rnn", "transformer"])
def test_mixed_precision_in_two_parts(tmp_path, seq_model, precision):
    flags = [*SMALL, f"--seq_model={seq_model}", "--tie_weights", f"--amp={precision}"]
    figures = PROGRAM.result(tmp_path, *flags, "--out=whole")
    PROGRAM.result(tmp_path, *flags, "--epochs=1", "--out=parts")
    PROGRAM.result(tmp_path, "--epochs=2", "--out=parts", "--resume")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    exact = PROGRAM.result(tmp_path, *flags, "--amp=none", "--out=exact")
    assert weights(tmp_path / "exact") != weights(tmp_path / "whole")
    # Two epochs of a small model magnify roundings, which each instruction level has its own of: 7 % have been met.
    assert figures["test_loss"] == pytest.approx(exact["test_loss"], rel=0.15)


def test_a_run_in_two_parts_gives_the_same_bits_as_one(tmp_path):
    flags = [*SMALL, "--dropout=0.3", "--decay_after=1"]
    PROGRAM.result(tmp_path, *flags, "--epochs=3", "--out=whole")
    PROGRAM.result(tmp_path, *flags, "--epochs=1", "--out=parts")
    PROGRAM.result(tmp_path, "--epochs=3", "--out=parts", "--resume")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    of_parts = [row for row in metrics(tmp_path / "parts") if (row["epoch"], row["split"]) != (1, "test")]
    assert without_times(metrics(tmp_path / "whole")) == without_times(of_parts)


def test_a_finished_run_that_is_resumed_measures_nothing_again(tmp_path):
    PROGRAM.result(tmp_path, *SMALL, "--out=out")
    before = metrics(tmp_path / "out")
    PROGRAM.result(tmp_path, "--out=out", "--resume")
    assert metrics(tmp_path / "out") == before


def test_a_run_that_goes_on_with_other_kernels_says_so(tmp_path, monkeypatch):
    levels = cpu().kernels.levels()
    said = []
    for level, flags in ((levels[-1], ["--epochs=1"]), (levels[-1], ["--resume"]), (levels[0], ["--resume"])):
        monkeypatch.setenv("NEEDLE_CPU_LEVEL", level)
        finished = PROGRAM.run_in_own_process(tmp_path, *SMALL, "--out=out", *flags)
        assert finished.returncode == 0, finished.stderr
        said.append([line for line in finished.stderr.splitlines() if "the last bits" in line])
    assert said[:2] == [[], []]
    assert said[2] == ([] if len(levels) == 1 else [
        f"the checkpoint is of a run with level {levels[-1]}; this one is with level {levels[0]}: "
        "the last bits of its results may differ"
    ])  # fmt: skip


def test_a_run_that_is_killed_ends_with_the_same_bits(tmp_path):
    write_text(tmp_path / "data", sentences=2000)
    flags = [*SMALL, "--dropout=0.3", "--hidden_size=32", "--epochs=3"]
    PROGRAM.result(tmp_path, *flags, "--out=whole")
    out = tmp_path / "killed"
    PROGRAM.kill_after_rows(tmp_path, out, 0, *flags, "--out=killed")  # within the first epoch
    assert metrics(out) == []
    PROGRAM.kill_after_rows(tmp_path, out, 2, "--out=killed", "--resume")  # within the second
    assert [row["epoch"] for row in metrics(out)] == [1, 1]
    PROGRAM.result(tmp_path, "--out=killed", "--resume")
    assert weights(tmp_path / "whole") == weights(out)
    assert without_times(metrics(tmp_path / "whole")) == without_times(metrics(out))


def test_a_terminal_shows_loss_and_perplexity(tmp_path):
    write_text(tmp_path / "data", sentences=1000)
    flags = [*SMALL, "--hidden_size=64", "--epochs=1", "--limit_batches=200", "--out=out"]
    _, drawn = PROGRAM.result_and_terminal(tmp_path, *flags)
    pattern = (
        r"\rEpoch 1/1 train: +(\d+)%\|[^\r]*\| (\d+)/200 "
        r"\[\d+:\d+<\d+:\d+, loss=\d\.\d+, ppl=\d+\.\d+, +[\d.]+batch/s\]"
    )
    frames = re.findall(pattern, drawn)
    assert frames[-1:] == [("100", "200")]  # how many come before depends on the machine


def test_interrupt_is_one_line(tmp_path):
    line = PROGRAM.interrupt(tmp_path, tmp_path / "out", *SMALL, "--epochs=100000", "--out=out")
    assert "interrupted" in line and "--resume" in line


# Mistakes


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--seq_len=0"], "seq_len"),
        (["--hidden_size=0"], "hidden_size"),
        (["--num_layers=0"], "num_layers"),
        (["--batch_size=-3"], "batch_size"),
        (["--seq_model=gru"], "gru"),
        (["--dropout=1"], "dropout=1"),
        (["--lr_decay=0"], "lr_decay=0"),
        (["--decay_after=0"], "decay_after"),
        (["--clip_norm=nan"], "clip_norm=nan"),
        (["--init_scale=0"], "init_scale=0"),
    ],
)
def test_wrong_flags(tmp_path, flags, text):
    assert text in PROGRAM.error(tmp_path, *flags, status=2)


def test_texts_that_cannot_be_used(tmp_path, text):
    def error(*flags):
        return PROGRAM.error(tmp_path, *SMALL, "--out=out", *flags, status=1)

    assert "nowhere" in error("--data_dir=nowhere")
    sentences = (text / "valid.txt").read_text().splitlines()
    words = sum(len(sentence.split()) + 1 for sentence in sentences)
    line = error(f"--batch_size={words // 2 + 1}")  # there are four times as many words to train on
    assert f"--batch_size={words // 2 + 1}: the valid split" in line and f"text of {words} words" in line
    whole = (text / "valid.txt").read_bytes()
    for content, said in (
        (b"", "no words"),
        (b"\x00\x01\x02", "not text"),
        (b"\xff\xfe", "byte 0xff"),
        (b"the cat barks\n", "line 1: the word 'barks'"),
    ):
        (text / "valid.txt").write_bytes(content)
        line = error()
        assert str(text / "valid.txt") in line and said in line
    (text / "valid.txt").write_bytes(whole)
    (text / "train.txt").unlink()
    assert str(text / "train.txt") in error()
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_a_sequence_longer_than_a_transformers(tmp_path):
    line = PROGRAM.error(tmp_path, *SMALL, "--seq_model=transformer", "--seq_len=2049", "--out=out", status=2)
    assert "--seq_len: expected at most 2048 with --seq_model=transformer" in line
    assert not (tmp_path / "out").exists()


def test_resume_with_another_checkpoint(tmp_path, text):
    def error(*flags):
        return PROGRAM.error(tmp_path, "--resume", "--out=out", *flags, status=1)

    assert "no checkpoint" in error()
    PROGRAM.result(tmp_path, *SMALL, "--out=out")
    path = tmp_path / "out" / "checkpoint.safetensors"
    whole = path.read_bytes()
    assert "--hidden_size=8: cannot --resume with --hidden_size=16" in error("--hidden_size=16")
    assert "--seq_model=lstm: cannot --resume with --seq_model=rnn" in error("--seq_model=rnn")
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-100])
    assert f"{path}: truncated: " in error()
    path.write_bytes(whole)
    state = load_state(path)
    for change, said in (
        ({"config": {**state["config"], "program": "cifar_resnet9"}}, "not of a run of ptb_lstm"),
        ({"config": {**state["config"], "flags": None}}, "not of a run of ptb_lstm"),
        ({"config": {**state["config"], "data": "Penn Treebank"}}, "of a run on Penn Treebank data, here are other"),
        ({"model": {}}, "of another kind of run"),
    ):
        save_state(path, state | change)
        assert said in error()
    path.write_bytes(whole)
    (text / "train.txt").write_text("a new first sentence\n" + (text / "train.txt").read_text())
    assert "of a run on other text too, but with another content" in error()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    write_text(tmp_path / "data", sentences=1000)
    flags = [*SMALL, "--lr=1e38", "--clip_norm=1e30", "--out=out"]
    line = PROGRAM.error(tmp_path, *flags, status=1)
    assert "at step" in line and "--allow_nan" in line and "before training" in line
    assert PROGRAM.result(tmp_path, *flags, "--allow_nan")["test_perplexity"] is None
