"""Runs a program as a user would, and reads what it has written."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import io
import json
import os
import pty
import runpy
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from absl.flags import FLAGS
from safetensors.numpy import load_file

from experiments import training_run
from needle.data import cifar10, penn_treebank


class Program:
    """One of the programs in `experiments`, with no network, so that without data it takes the synthetic set.

    It runs in this process, which has imported everything already, and draws no curves: beginning and drawing would
    take longer than the training of most tests. `run_in_own_process` leaves nothing out.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = importlib.util.find_spec(f"experiments.{name}").origin

    def run(self, home: Path, *flags: str) -> subprocess.CompletedProcess:
        """Runs the program's file as `__main__`, with these flags."""
        stdout, stderr, status = io.StringIO(), io.StringIO(), None
        with (
            mock.patch.dict(os.environ, environment(home)),
            mock.patch.object(sys, "argv", [self.file, *flags]),
            mock.patch.object(cifar10, "URL", NOWHERE),
            mock.patch.object(penn_treebank, "URL", NOWHERE),
            mock.patch.object(training_run, "draw_curves", no_picture),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            try:
                runpy.run_path(self.file, run_name="__main__")
            except SystemExit as exit:
                status = exit.code or 0
            finally:
                for flag in FLAGS.get_flags_for_module("__main__"):
                    delattr(FLAGS, flag.name)  # the next run defines it again
                FLAGS.unparse_flags()
        return subprocess.CompletedProcess(sys.argv, status, stdout.getvalue(), stderr.getvalue())

    def run_in_own_process(self, home: Path, *flags: str, **options) -> subprocess.CompletedProcess:
        """The same by `python -m`; `options` are those of subprocess.run."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120} | options
        return subprocess.run(self.command(*flags), env=environment(home), **options)

    def command(self, *flags: str) -> list[str]:
        return [sys.executable, "-m", f"experiments.{self.name}", *flags]

    def output(self, home: Path, *flags: str) -> str:
        """The standard output of a run that must succeed."""
        finished = self.run(home, *flags)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def result(self, home: Path, *flags: str) -> dict:
        """The JSON object of a run that must succeed."""
        (line,) = self.output(home, *flags).splitlines()
        return json.loads(line)

    def error(self, home: Path, *flags: str, status: int) -> str:
        """The one line of a run that must fail on the user's account."""
        return self.line_of_error(self.run(home, *flags), status)

    def line_of_error(self, finished: subprocess.CompletedProcess, status: int) -> str:
        assert finished.returncode == status, finished.stderr
        assert "Traceback" not in finished.stderr and finished.stdout == ""
        line = finished.stderr.splitlines()[-1]
        assert line.startswith(f"{self.name}: "), finished.stderr
        return line

    def result_and_terminal(self, home: Path, *flags: str) -> tuple[dict, str]:
        """The JSON object of a run with a terminal of 24 lines of 100 columns, and all that was drawn on that."""
        reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        drawn = b""
        with subprocess.Popen(
            self.command(*flags), env=environment(home), stdout=subprocess.PIPE, stderr=writer
        ) as process:
            os.close(writer)
            try:
                while piece := os.read(reader, 10000):
                    drawn += piece
            except OSError:  # the other end is closed
                pass
            result = json.loads(process.stdout.read())
        os.close(reader)
        return result, drawn.decode()

    def kill_after_rows(self, home: Path, out: Path, rows: int, *flags: str) -> None:
        """Runs the program until it has written so many rows of metrics into `out`, and kills it a little later."""
        process = subprocess.Popen(
            self.command(*flags), env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while "results:" not in process.stderr.readline():  # it is about to train, or to read the checkpoint
            assert process.poll() is None
        wait_until(lambda: (out / "metrics.jsonl").exists() and len(metrics(out)) >= rows)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def interrupt(self, home: Path, out: Path, *flags: str) -> str:
        """Runs the program, presses Ctrl-C soon after it has begun to train, and returns its last line."""
        process = subprocess.Popen(
            self.command(*flags), env=environment(home), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        wait_until((out / "checkpoint.safetensors").exists)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in stderr
        return stderr.splitlines()[-1]


NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def no_picture(history: list[dict], title: str) -> bytes:
    """In place of `draw_curves`, which takes 0.4 s."""
    return b""


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(home),
        "https_proxy": NOWHERE,
        "BUILD_WORKING_DIRECTORY": str(home),
        "NEEDLE_DATA_DIR": "",
    }


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def weights(folder: Path) -> dict[str, bytes]:
    """The arrays of the checkpoint in a run's folder."""
    return {name: array.tobytes() for name, array in load_file(folder / "checkpoint.safetensors").items()}


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in rows]
