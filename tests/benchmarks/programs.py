"""Runs a benchmark as a user would, on tiny sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(program: str, home: Path, *flags: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(home),
        "BUILD_WORKING_DIRECTORY": str(home),
    }
    command = [sys.executable, "-m", f"benchmarks.{program}", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)


def measure(program: str, home: Path, *flags: str) -> tuple[str, dict]:
    """The text and the JSON of a run that must succeed."""
    finished = run(program, home, "--quick", "--runs=2", "--json=results.json", *flags)
    assert finished.returncode == 0, finished.stderr
    assert list(home.glob(".*.tmp")) == []
    return finished.stdout, json.loads((home / "results.json").read_text())


def mistake(program: str, home: Path, *flags: str, status: int) -> str:
    """The one line of a run that must fail on the user's account."""
    finished = run(program, home, *flags)
    assert finished.returncode == status, finished.stderr
    assert finished.stdout == "" and len(finished.stderr.splitlines()) == 1, finished.stderr
    assert finished.stderr.startswith(f"{program}: error: ")
    return finished.stderr


def check_results(text: str, results: dict) -> None:
    """All figures are positive; the text has the rows, contenders and ratios of the JSON, in the same order."""
    body = text.split("\n\n", 1)[1].splitlines()[1:]
    said = iter(body)
    for row in results["rows"]:
        assert next(said) == row["title"]
        assert [result["ours"] for result in row["results"]].count(True) >= 1
        peers = [result["median"] for result in row["results"] if not result["ours"]]
        for result in row["results"]:
            line = next(said)
            assert line.startswith("  " + result["contender"])
            assert result["runs"] == 2 and 0 < result["min"] <= result["median"] <= result["max"]
            for unit, amount in row["amounts"].items():
                assert amount > 0 and abs(result["per_second"][unit] * result["median"] / amount - 1) < 1e-9
            if result["ours"] and peers:
                assert abs(result["ratio_to_best_peer"] * result["median"] / min(peers) - 1) < 1e-9
                assert line.endswith(f"{result['ratio_to_best_peer']:.2f} x")
            else:
                assert result["ratio_to_best_peer"] is None and not line.endswith(" x")
    assert next(said, None) is None
