"""Runs cifar_resnet9 as a user would, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SMALL = ["--batch_size=32", "--limit_batches=4", "--epochs=2"]


def environment(tmp_path) -> dict[str, str]:
    """No data anywhere and no network, so that the program takes the synthetic set."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9",
        "BUILD_WORKING_DIRECTORY": str(tmp_path),
        "NEEDLE_DATA_DIR": "",
    }


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "experiments.cifar_resnet9", *flags]


def run(tmp_path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(*flags), env=environment(tmp_path), capture_output=True, text=True, timeout=120)


def result(tmp_path, *flags: str) -> dict:
    """The JSON object of a run that must succeed."""
    finished = run(tmp_path, *flags)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def error(tmp_path, *flags: str, status: int) -> str:
    """The one line of a run that must fail on the user's account."""
    finished = run(tmp_path, *flags)
    assert finished.returncode == status, finished.stderr
    assert "Traceback" not in finished.stderr and finished.stdout == ""
    line = finished.stderr.splitlines()[-1]
    assert line.startswith("cifar_resnet9: "), finished.stderr
    return line
