"""What both programs have in common on the command line."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import machine
from benchmarks.contest import DEVICES, Contender, ContestError, contenders
from benchmarks.row import Row
from experiments.command_line import FLAGS, user_path
from needle.errors import DeviceError

flags.disclaim_key_flags()  # the flags defined here belong to the program that calls define_flags


def define_flags(rows: list[Row], runs: int) -> None:
    """Defines the flags of a program that has these rows; `runs` is a default."""
    names = [row.name for row in rows]

    def known(patterns: list[str]) -> bool:
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise flags.ValidationError(f"no row is called {pattern!r}: expected some of {', '.join(names)}")
        return True

    cores = len(os.sched_getaffinity(0))
    flags.DEFINE_list("only", [], "Names of the rows to measure, or patterns such as 'conv*'; else all.")
    flags.register_validator("only", known)
    flags.DEFINE_integer("runs", runs, "Turns that each contender has, after warm-up.", lower_bound=1)
    flags.DEFINE_integer("threads", cores, "Threads of each contender; by default one per core.", lower_bound=1)
    flags.DEFINE_enum("device", None, list(DEVICES), "The device to measure on; by default all that there are.")
    flags.DEFINE_string("pytorch_python", None, "PyTorch's interpreter, where PyTorch is not installed for this one.")
    flags.DEFINE_string("jax_python", None, "JAX's interpreter: with it, JAX takes part where compilers do.")
    flags.DEFINE_string("json", None, "File for the same results as JSON.")
    flags.DEFINE_bool("quick", False, "Take tiny sizes, which say nothing about speed, to see whether all works.")


def everybody() -> list[Contender]:
    """Those of --device, of --pytorch_python and of --jax_python."""
    pythons = (
        str(user_path(python)) if python is not None and "/" in python else python
        for python in (FLAGS.pytorch_python, FLAGS.jax_python)
    )
    return contenders(DEVICES if FLAGS.device is None else (FLAGS.device,), *pythons)


def chosen_rows(rows: list[Row], everybody: list[Contender]) -> list[Row]:
    """Those of --only in which somebody of ours takes part. Raises DeviceError where there are none."""
    wanted = [row for row in rows if not FLAGS.only or any(fnmatch.fnmatch(row.name, name) for name in FLAGS.only)]
    chosen = [row for row in wanted if any(contender.ours and contender.takes_part(row) for contender in everybody)]
    if not chosen:
        raise DeviceError(f"only GPUs take part in {', '.join(row.name for row in wanted)}")
    return chosen


def text_or_error(text: str, results: dict[str, Any]) -> str:
    """The text of the results. Where somebody failed, prints it and raises ContestError."""
    failures = [failure for row in results["rows"] for failure in row["failures"]]
    if failures:
        print(text, flush=True)
        raise ContestError(f"{len(failures)} failed; the first: {failures[0]}")
    return text


def all_results(
    program: str, everybody: list[Contender], load: machine.OtherLoad, rows: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """What the program found out, as JSON; `load` has run since before the first row, and `rows` are report.as_json's."""
    return {
        "program": program,
        "machine": machine.describe(),
        **machine.participants(everybody, FLAGS.threads),
        "runs": FLAGS.runs,
        "quick": FLAGS.quick,
        "other_load": load.cores(),
        **more,
        "rows": rows,
    }


def json_file() -> Path | None:
    """The file of --json, if any. Raises OSError now, not after all the work, where it cannot be written."""
    if FLAGS.json is None:
        return None
    path = user_path(FLAGS.json)
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder: expected a file", str(path))
    with path.open("a"):
        pass
    return path
