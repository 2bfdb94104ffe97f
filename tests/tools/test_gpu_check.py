"""What tools/gpu_check.sh says before it starts: the steps themselves need a GPU."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "tools" / "gpu_check.sh"


def mistake(folder: Path, *arguments: str, python: str = "false") -> str:
    """The one line of a run that must end at once."""
    environment = {**os.environ, "PYTHON": python}
    command = ["bash", str(SCRIPT), f"--out={folder}/out", *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 2 and finished.stdout == "", finished
    assert len(finished.stderr.splitlines()) == 1 and finished.stderr.startswith("gpu_check: "), finished.stderr
    return finished.stderr


@pytest.mark.parametrize(
    "argument, said",
    [
        ("conformance", "'conformance': expected --out=DIR"),
        ("--fast", "'--fast': expected"),
        ("--minutes=soon", "--minutes=soon: expected a whole number"),
        ("--minutes=0", "--minutes=0: expected"),
        ("--data=/no/such/folder", "--data=/no/such/folder: no such folder"),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path, argument, said):
    assert said in mistake(tmp_path, argument)
    assert not (tmp_path / "out").exists()


def test_an_interpreter_that_does_not_run_is_one_line(tmp_path):
    assert "PYTHON=false does not run" in mistake(tmp_path, "tests")
    assert "PYTHON=/no/python does not run" in mistake(tmp_path, "--quick", "choice", python="/no/python")


def test_packages_that_are_missing_are_named_all_at_once(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho hypothesis tqdm\n")
    python.chmod(0o755)
    assert f"PYTHON={python} has no hypothesis, tqdm: expected" in mistake(tmp_path, "training", python=str(python))
