"""What both programs have in common on the command line."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import machine
from benchmarks.contest import Contender
from benchmarks.row import Row
from experiments.command_line import FLAGS, user_path

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
    flags.DEFINE_string("json", None, "File for the same results as JSON.")
    flags.DEFINE_bool("quick", False, "Take tiny sizes, which say nothing about speed, to see whether all works.")


def chosen_rows(rows: list[Row]) -> list[Row]:
    """Those of --only."""
    return [row for row in rows if not FLAGS.only or any(fnmatch.fnmatch(row.name, name) for name in FLAGS.only)]


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
