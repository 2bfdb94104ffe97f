"""Common parts of the training programs: resuming from a checkpoint or starting anew, and the final figures."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from experiments import command_line
from experiments.command_line import FLAGS, notice
from experiments.run_folder import RunFolder
from experiments.training_run import TrainingRun
from needle.checkpoint import load_state
from needle.errors import CheckpointError


def load_checkpoint(path: Path, program: str) -> dict[str, Any]:
    """The state that a run of `program` saved in the file. Raises CheckpointError if it is from something else."""
    state = load_state(path)
    try:
        config = state["config"]
        known = config["program"] == program and isinstance(config["flags"], dict)
    except (KeyError, TypeError):
        known = False
    if not known:
        raise CheckpointError(f"{path}: not of a run of {program}")
    return state


def state_to_resume(folder: RunFolder, program: str, free_to_change: set[str]) -> dict[str, Any] | None:
    """With --resume, the state in the folder's checkpoint; otherwise None.

    Flags that were not given take that run's values; given flags may differ only if they are in `free_to_change`.
    Raises CheckpointError if others differ or there is no checkpoint.
    """
    if not FLAGS.resume:
        return None
    if not folder.checkpoint.exists():
        raise CheckpointError(f"{folder.folder}: no checkpoint to --resume from")
    state = load_checkpoint(folder.checkpoint, program)
    command_line.adopt_flags(state["config"]["flags"], free_to_change, folder.checkpoint)
    return state


def begin(run: TrainingRun, state: dict[str, Any] | None) -> None:
    """Resumes from `state`, whose run must have had the same data, or starts anew and sets an earlier run aside."""
    if state is None:
        earlier = run.folder.set_earlier_run_aside()
        if earlier is not None:
            notice(f"the results of an earlier run are now in {earlier}")
        run.start()
        return
    trained_on, data = state["config"].get("data"), run.config["data"]
    if trained_on != data:
        raise CheckpointError(f"{run.folder.checkpoint}: of a run on {trained_on} data, here are {data}")
    if state["config"].get("data_sha256") != run.config.get("data_sha256"):
        raise CheckpointError(f"{run.folder.checkpoint}: of a run on {data} too, but with another content")
    run.resume(state, notice)
    notice(f"resuming after epoch {run.epoch} of {FLAGS.epochs}")


def final_figures(
    run: TrainingRun, measure: str, speed: str, best_of: tuple[Callable[[Iterable[float]], float], str]
) -> dict[str, Any]:
    """The last loss and `measure` of each split, the best one, the speed and time of all epochs, and peak memory.

    speed: the name of the training's samples per second. best_of: min or max, and the split that it applies to.
    """
    splits = dict.fromkeys(row["split"] for row in run.history)
    rows = {split: [row for row in run.history if row["split"] == split] for split in splits}
    figures = {"epochs": run.epoch}
    for split in splits:
        figures |= {f"{split}_{name}": rows[split][-1][name] for name in ("loss", measure)}
    best, split = best_of
    known = [row[measure] for row in rows[split] if row[measure] is not None]
    seconds = sum(row["seconds"] for row in rows["train"])
    samples = sum(row["seconds"] * row["samples_per_second"] for row in rows["train"])
    return figures | {
        f"best_{split}_{measure}": best(known) if known else None,
        speed: round(samples / seconds, 1),
        "seconds": round(sum(row["seconds"] for row in run.history), 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "out": str(run.folder.folder),
    }
