"""The program from its command line: what it prints and writes, how it is resumed, and what a mistake looks like."""

import json
import os
import re
import resource
import signal

import pytest

from needle.backend_ndarray import cuda
from needle.checkpoint import load_state, save_state
from tests.experiments.program import Program, metrics, weights, without_times

SMALL = ["--batch_size=32", "--limit_batches=4", "--epochs=2"]

PROGRAM = Program("cifar_resnet9")


def test_a_run_writes_everything_and_ends_with_one_json_line(tmp_path):
    finished = PROGRAM.run_in_own_process(tmp_path, *SMALL, "--out=out")  # relative to where the user is
    assert finished.returncode == 0, finished.stderr
    (line,) = finished.stdout.splitlines()
    figures = json.loads(line)
    assert figures["parameters"] == 431946 and figures["epochs"] == 2 and figures["data"] == "synthetic"
    assert "synthetic" in finished.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.safetensors", "curves.png", "metrics.jsonl"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = metrics(out)
    assert [(row["epoch"], row["split"]) for row in rows] == [(1, "train"), (1, "test"), (2, "train"), (2, "test")]
    assert all(row["loss"] > 0 and 0 <= row["accuracy"] <= 1 and row["samples_per_second"] > 0 for row in rows)


def test_the_checkpoint_has_the_flags_that_define_the_run(tmp_path):
    PROGRAM.result(tmp_path, *SMALL, "--epochs=1", "--lr=0.01", "--out=out", "--allow_nan")
    kept = load_state(tmp_path / "out" / "checkpoint.safetensors")["config"]["flags"]
    names = "amp arch augment batch_size data_dir epochs limit_batches lr optimizer schedule seed weight_decay"
    assert sorted(kept) == names.split()
    assert (kept["batch_size"], kept["limit_batches"], kept["lr"], kept["data_dir"]) == (32, 4, 0.01, None)


def test_training_learns(tmp_path):
    flags = ["--batch_size=64", "--limit_batches=40", "--epochs=3", "--lr=3e-3", "--out=out"]
    PROGRAM.result(tmp_path, *flags)
    train = [row["loss"] for row in metrics(tmp_path / "out") if row["split"] == "train"]
    assert train[2] < train[1] < train[0] and train[2] < 0.85 * train[0]


@pytest.mark.parametrize(
    "flags",
    [
        ["--arch=resnet9_wide", "--batch_size=4", "--limit_batches=2", "--epochs=1"],
        ["--optimizer=sgd", "--schedule=onecycle", "--augment", *SMALL],
        ["--schedule=cosine", "--device=cpu_numpy", "--batch_size=8", "--limit_batches=2", "--epochs=1"],
    ],
    ids=["wide", "sgd", "cpu_numpy"],
)
def test_the_other_flags(tmp_path, flags):
    figures = PROGRAM.result(tmp_path, *flags, "--out=out")
    assert figures["train_loss"] > 0


def test_a_run_in_two_parts_gives_the_same_bits_as_one(tmp_path):
    flags = [*SMALL, "--epochs=3", "--augment", "--schedule=constant"]
    PROGRAM.result(tmp_path, *flags, "--out=whole")
    PROGRAM.result(tmp_path, *flags, "--epochs=1", "--out=parts")
    PROGRAM.result(tmp_path, "--epochs=3", "--out=parts", "--resume")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert without_times(metrics(tmp_path / "whole")) == without_times(metrics(tmp_path / "parts"))


@pytest.mark.parametrize("flag, precision", [("--amp", "bfloat16"), ("--amp=float16", "float16")])
def test_mixed_precision_in_two_parts(tmp_path, flag, precision):
    figures = PROGRAM.result(tmp_path, *SMALL, flag, "--out=whole")
    assert figures["amp"] == precision
    PROGRAM.result(tmp_path, *SMALL, flag, "--epochs=1", "--out=parts")
    PROGRAM.result(tmp_path, "--epochs=2", "--out=parts", "--resume")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert without_times(metrics(tmp_path / "whole")) == without_times(metrics(tmp_path / "parts"))
    state = load_state(tmp_path / "parts" / "checkpoint.safetensors")
    assert {str(array.dtype) for array in state["model"].values()} == {"float32"}
    assert ("scaler" in state) == (precision == "float16")
    exact = PROGRAM.result(tmp_path, *SMALL, "--noamp", "--out=exact")
    assert exact["amp"] == "none" and weights(tmp_path / "exact") != weights(tmp_path / "whole")
    assert figures["test_loss"] == pytest.approx(exact["test_loss"], rel=0.05)
    line = PROGRAM.error(tmp_path, "--resume", "--out=exact", flag, status=1)
    assert f"--amp=none: cannot --resume with --amp={precision}" in line


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    flags = ["--batch_size=16", "--limit_batches=60", "--epochs=3", "--augment", "--schedule=cosine"]
    PROGRAM.result(tmp_path, *flags, "--out=whole")
    out = tmp_path / "killed"
    PROGRAM.kill_after_rows(tmp_path, out, 0, *flags, "--out=killed")  # within the first epoch
    assert metrics(out) == []
    PROGRAM.kill_after_rows(tmp_path, out, 0, "--out=killed", "--resume")
    PROGRAM.kill_after_rows(tmp_path, out, 2, "--out=killed", "--resume")  # within the second
    assert [row["epoch"] for row in metrics(out)] == [1, 1]
    PROGRAM.result(tmp_path, "--out=killed", "--resume")
    assert weights(tmp_path / "whole") == weights(out)
    assert without_times(metrics(tmp_path / "whole")) == without_times(metrics(out))
    assert not list(out.glob(".*.tmp"))


def test_a_run_sets_an_earlier_one_aside(tmp_path):
    PROGRAM.result(tmp_path, *SMALL, "--out=out")
    before = weights(tmp_path / "out")
    PROGRAM.result(tmp_path, *SMALL, "--out=out", "--seed=1")
    assert weights(tmp_path / "out" / "earlier-1") == before


def test_a_terminal_shows_a_live_bar(tmp_path):
    flags = ["--batch_size=16", "--limit_batches=80", "--epochs=1", "--out=out"]
    figures, drawn = PROGRAM.result_and_terminal(tmp_path, *flags)
    assert figures["epochs"] == 1
    pattern = (
        r"\rEpoch 1/1 train: +(\d+)%\|[^\r]*\| (\d+)/80 "
        r"\[\d+:\d+<\d+:\d+, loss=\d\.\d+, acc=0\.\d+, +[\d.]+batch/s\]"
    )
    frames = re.findall(pattern, drawn)
    assert len(frames) > 2 and frames[-1] == ("100", "80")


def test_interrupt_is_one_line(tmp_path):
    line = PROGRAM.interrupt(tmp_path, tmp_path / "out", "--batch_size=16", "--epochs=200", "--out=out")
    assert "interrupted" in line and "--resume" in line
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_a_standard_output_without_room(tmp_path):
    with open("/dev/full", "w") as full:
        finished = PROGRAM.run_in_own_process(tmp_path, *SMALL, "--out=out", stdout=full)
    assert finished.returncode != 0 and "Traceback" not in finished.stderr
    assert "cifar_resnet9: error: No space left on device" in finished.stderr


# Mistakes


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--no_such_flag=1"], "no_such_flag"),
        (["--epochs=0"], "epochs"),
        (["--epochs=many"], "epochs"),
        (["--batch_size=0"], "batch_size"),
        (["--lr=-1"], "lr"),
        (["--lr=nan"], "lr"),
        (["--weight_decay=-1"], "weight_decay"),
        (["--device=tpu"], "tpu"),
        (["--arch=resnet50"], "resnet50"),
        (["--seed=-1"], "seed"),
        (["--amp=fp8"], "--amp=fp8: expected --amp alone, or none, float16 or bfloat16"),
        (["stray"], "stray"),
    ],
)
def test_wrong_flags(tmp_path, flags, text):
    assert text in PROGRAM.error(tmp_path, *flags, status=2)


def test_a_device_that_is_not_there(tmp_path):
    if cuda().enabled():
        pytest.skip("there is a GPU")
    assert "cuda() is not available" in PROGRAM.error(tmp_path, "--device=cuda", "--out=out", status=1)


@pytest.mark.parametrize("variable", ["NEEDLE_CPU_LEVEL", "NEEDLE_CPU_KERNELS", "NEEDLE_MEMORY_POOL"])
def test_a_setting_that_the_kernels_refuse(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "loud")
    message = PROGRAM.line_of_error(PROGRAM.run_in_own_process(tmp_path), status=1)
    assert f"{variable}: " in message and "'loud', expected " in message


def test_an_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in PROGRAM.error(tmp_path, "--out=file/sub", *SMALL, status=1)
    assert "/proc" in PROGRAM.error(tmp_path, "--out=/proc/needle", *SMALL, status=1)


def test_data_that_are_not_there_or_damaged(tmp_path):
    assert "nowhere" in PROGRAM.error(tmp_path, "--data_dir=nowhere", "--out=out", *SMALL, status=1)
    for flag in ("--data_dir", "--out"):
        assert f"{flag} is empty: expected a path" in PROGRAM.error(tmp_path, f"{flag}=", *SMALL, status=2)
        line = PROGRAM.error(tmp_path, f"{flag}=~nobody-of-that-name/it", *SMALL, status=1)
        assert "~nobody-of-that-name/it: met no home folder for this ~" in line
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]:
        (folder / name).write_bytes(b"\x80\x02}(U")
    assert "data_batch_1" in PROGRAM.error(tmp_path, "--data_dir=data", "--out=out", *SMALL, status=1)


def test_resume_without_or_with_another_checkpoint(tmp_path):
    assert "no checkpoint" in PROGRAM.error(tmp_path, "--resume", "--out=out", status=1)
    PROGRAM.result(tmp_path, *SMALL, "--out=out")
    before = weights(tmp_path / "out")
    assert "resnet9_wide" in PROGRAM.error(tmp_path, "--resume", "--out=out", "--arch=resnet9_wide", status=1)
    assert weights(tmp_path / "out") == before
    path = tmp_path / "out" / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert f"{path}: truncated: " in PROGRAM.error(tmp_path, "--resume", "--out=out", status=1)
    path.write_bytes(whole)
    state = load_state(path)
    for change, text in (
        ({"config": {"program": "ptb_lstm", "flags": {}}}, "not of a run of cifar_resnet9"),
        ({"config": {**state["config"], "data": "CIFAR-10"}}, "of a run on CIFAR-10 data, here are synthetic"),
        ({"config": {**state["config"], "flags": {"epochs": "many"}}}, "of a run with --epochs='many'"),
        ({"config": {**state["config"], "flags": {"new": 1}}}, "of a run with --new, which this program does not have"),
        ({"epoch": None}, "of another kind of run"),
        ({"model": {}}, "of another kind of run"),
        ({"optimizer": {}}, "of another kind of run"),
    ):
        save_state(path, state | change)
        assert text in PROGRAM.error(tmp_path, "--resume", "--out=out", status=1)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    flags = ["--batch_size=16", "--limit_batches=60", "--optimizer=sgd", "--lr=1e30", "--epochs=2", "--out=out"]
    line = PROGRAM.error(tmp_path, *flags, status=1)
    assert "at step" in line and "--allow_nan" in line and "before training" in line
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()
    assert PROGRAM.result(tmp_path, *flags, "--allow_nan")["train_loss"] is None


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    PROGRAM.result(tmp_path, *SMALL, "--epochs=1", "--out=out")
    before = weights(tmp_path / "out")

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    flags = ["--resume", "--epochs=2", "--out=out"]
    finished = PROGRAM.run_in_own_process(tmp_path, *flags, preexec_fn=small_files_only)
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    assert "checkpoint.safetensors" in finished.stderr.splitlines()[-1]
    assert weights(tmp_path / "out") == before
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith(".tmp")]
