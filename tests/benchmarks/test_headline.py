"""The headline program: its rows, as text and as JSON, and what mistakes look like."""

import os

import pytest

from benchmarks.headline_rows import ROWS
from needle.backend_ndarray import cuda
from tests.benchmarks.programs import check_results, measure, mistake, run


def test_all_rows_as_text_and_as_json(tmp_path):
    text, results = measure("headline", tmp_path, "--threads=1")
    check_results(text, results)
    assert [row["row"] for row in results["rows"]] == [row.name for row in ROWS if cuda().enabled() or not row.gpu]
    assert not any(row["failures"] for row in results["rows"])
    assert all(count == 1 for count in results["threads"].values())
    assert {"needle", "numpy"} <= set(results["versions"])
    for row in results["rows"]:
        contenders = [result["contender"] for result in row["results"]]
        if row["row"].endswith("_compile"):
            assert contenders and all(
                contender.endswith(("jit", "compiled", "channels-last")) for contender in contenders
            )
        elif contenders[0] != "needle cpu native":
            assert contenders[0] == "needle cuda native" and row["row"] in [row.name for row in ROWS if row.gpu]
        else:
            assert ("numpy" in contenders) == (row["row"] in ("matmul", "batch_norm", "chain", "add"))
    heading = text.split("\n\n")[0]
    assert results["machine"]["processor"] in heading and "QUICK" in heading
    assert ("PyTorch is not there" in heading) == ("torch" not in results["versions"])


def test_only_some_rows(tmp_path):
    text, results = measure("headline", tmp_path, "--only=lstm_[25]*,add")
    check_results(text, results)
    assert [row["row"] for row in results["rows"]] == ["lstm_200", "lstm_512", "add"]


def test_an_earlier_json_file_is_replaced_by_a_whole_one(tmp_path):
    (tmp_path / "results.json").write_text("x" * 10**6)
    measure("headline", tmp_path, "--only=add")


@pytest.mark.parametrize(
    "flag, said",
    [
        ("--only=matmul,lstm_300", "no row is called 'lstm_300': expected some of matmul, matmul_8192,"),
        ("--runs=0", "--runs"),
        ("--threads=none", "--threads"),
        ("--fast", "fast"),
        ("--device=tpu", "--device"),
    ],
)
def test_a_wrong_flag_is_one_line(tmp_path, flag, said):
    assert said in mistake("headline", tmp_path, flag, status=2)


def test_rows_that_nobody_takes_part_in_are_refused(tmp_path):
    if cuda().enabled():
        pytest.skip("there is a GPU")
    assert "only GPUs take part in matmul_8192" in mistake("headline", tmp_path, "--only=matmul_8192", status=1)


def test_an_interpreter_without_pytorch_is_one_line(tmp_path):
    said = mistake("headline", tmp_path, "--only=add", "--quick", "--pytorch_python=no/python", status=1)
    assert f"{tmp_path}/no/python: No such file" in said


def test_who_fails_has_a_line_and_the_others_go_on(tmp_path):
    python = tmp_path / "python"  # says that it has PyTorch, and then does no work
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && echo False || exit 3\n')
    python.chmod(0o755)
    finished = run("headline", tmp_path, "--quick", "--runs=1", "--only=add", f"--pytorch_python={python}")
    assert finished.returncode == 1 and finished.stderr.splitlines()[-1] == (
        "headline: error: 1 failed; the first: pytorch: it ended, with status 3"
    )
    lines = finished.stdout.splitlines()
    assert "  FAILED: pytorch: it ended, with status 3" in lines
    assert any(line.startswith("  needle cpu native") for line in lines)


def test_a_file_that_cannot_be_written_is_one_line_before_anything_is_measured(tmp_path):
    assert "nowhere/results.json" in mistake("headline", tmp_path, "--json=nowhere/results.json", status=1)
    (tmp_path / "folder").mkdir()
    assert "is a folder" in mistake("headline", tmp_path, "--json=folder", status=1)


def test_kernels_that_do_not_load_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("NEEDLE_CPU_LEVEL", os.devnull)  # no such level: the kernels do not load
    assert "NEEDLE_CPU_LEVEL" in mistake("headline", tmp_path, "--only=add", "--quick", status=1)
