"""The common command line of the experiments' programs.

Standard output is only for a program's result; for a training program that is one line, a JSON object. All other output
goes to standard error. A user's mistake prints one line there and exits with status 2 if it is in the flags, else 1.
Ctrl-C prints one line and exits with status 130.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags

from needle.amp import GradScaler, autocast
from needle.backend_ndarray import Device, all_devices, cpu
from needle.errors import CheckpointError, DeviceError, NeedleError

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # the flags defined here belong to the program that calls define_training_flags

PATHS = ("data_dir", "out", "checkpoint")  # become absolute, so that a resumed run finds the data too
NOT_OF_THE_RUN = {"allow_nan", "device", "jit", "out", "resume"}  # the other flags of a training program define a run
FREE_TO_CHANGE = {"data_dir", "epochs"}  # by a resumed run: it may have more epochs, or data that have moved


class _PrecisionParser(flags.ArgumentParser):
    """The parser of --amp: absl passes "true" for a bare --amp, and "false" for --noamp."""

    syntactic_help = "none, float16 or bfloat16"

    def parse(self, argument: str) -> str:
        value = {"true": "bfloat16", "false": "none"}.get(argument, argument)
        if value not in ("none", "float16", "bfloat16"):
            raise ValueError(f"expected --amp alone, or {self.syntactic_help} after --amp=")
        return value


def define_common_flags() -> None:
    """Defines the flags that every program has."""
    names = [device.name for device in all_devices()]
    flags.DEFINE_enum("device", cpu().name, names, "Where to compute.")
    flags.DEFINE_integer("seed", 0, "Seed of all random numbers.", lower_bound=0, upper_bound=2**32 - 1)


def define_training_flags(program: str, epochs: int, batch_size: int, lr: float | None) -> None:
    """Defines the flags that every training program has; the arguments are defaults.

    If `lr` is None and no flag sets it, the program chooses a value.
    """
    define_common_flags()
    flags.DEFINE_string("data_dir", None, "Folder of the data; else $NEEDLE_DATA_DIR, ~/.cache/needle/data, download.")
    flags.DEFINE_integer("epochs", epochs, "Passes over the training set.", lower_bound=1, upper_bound=1_000_000)
    flags.DEFINE_integer("batch_size", batch_size, "Examples per step.", lower_bound=1)
    flags.DEFINE_float("lr", lr, "Learning rate; the highest one of a schedule.")
    flags.DEFINE_integer("limit_batches", None, "Use only so many batches per epoch, for a quick look.", lower_bound=1)
    amp = flags.Flag(_PrecisionParser(), None, "amp", "none", "Mixed precision; --amp alone is bfloat16.")
    amp.boolean = True  # so that --amp needs no value
    flags.DEFINE_flag(amp)
    flags.DEFINE_bool("jit", True, "Record the steps with ndl.jit and replay them; the numbers are the same without.")
    flags.DEFINE_string("out", f"needle-runs/{program}", "Folder for checkpoint, metrics.jsonl and curves.png.")
    flags.DEFINE_bool("resume", False, "Go on from the checkpoint in --out; flags that are not given are that run's.")
    flags.DEFINE_bool("allow_nan", False, "Go on after a loss that is NaN or infinite.")
    flags.register_validator("lr", lambda value: value is None or 0 < value < math.inf, "expected a finite number > 0")


def run_program(program: str, main: Callable[[], dict[str, Any] | str]) -> NoReturn:
    """Parses the flags, calls `main`, prints its result, a dict as JSON, and exits."""

    def parse(argv: list[str]) -> list[str]:
        try:
            rest = FLAGS(argv)
        except flags.Error as error:
            _exit(2, f"{program}: error: {error}")
        if len(rest) > 1:
            _exit(2, f"{program}: error: unexpected argument {rest[1]!r}: expected flags, as in --epochs=10")
        for name in PATHS:
            if name in FLAGS and FLAGS[name].value == "":
                _exit(2, f"{program}: error: --{name} is empty: expected a path")
        return rest

    def run(_: list[str]) -> None:
        try:
            if os.environ.get("NEEDLE_DATA_DIR"):
                os.environ["NEEDLE_DATA_DIR"] = str(user_path(os.environ["NEEDLE_DATA_DIR"]))
            for name in PATHS:
                if name in FLAGS and FLAGS[name].value is not None:
                    setattr(FLAGS, name, str(user_path(FLAGS[name].value)))
            result = main()
            print(result if isinstance(result, str) else json.dumps(result), flush=True)
        except NeedleError as error:
            _exit(1, f"{program}: error: {error}")
        except BrokenPipeError:  # the reader has gone; the interpreter must not try to flush again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _exit(1, f"{program}: error: {where}{error.strerror or error}")
        except MemoryError as error:
            _exit(1, f"{program}: error: out of memory: {error}")
        except KeyboardInterrupt as interrupt:
            _exit(130, f"{program}: interrupted{f': {interrupt}' if str(interrupt) else ''}")

    app.run(run, flags_parser=parse)


def _exit(status: int, message: str) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr, flush=True)
    sys.exit(status)


def notice(message: str) -> None:
    """Prints a message to the user on standard error."""
    print(message, file=sys.stderr, flush=True)


def user_path(path: str) -> Path:
    """The path relative to the user's folder: `bazel run` changes folders, and names the original in the environment.

    Raises NeedleError for a home folder that the system does not know.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        met = f"{path}: met no home folder for this ~"
        raise NeedleError(f"{met}: expected $HOME, or an account that has one") from None
    return Path(os.environ.get("BUILD_WORKING_DIRECTORY", "."), expanded).absolute()


def chosen_device() -> Device:
    """The device given by --device. Raises DeviceError, with the reason, if it cannot be used."""
    device = next(device for device in all_devices() if device.name == FLAGS.device)
    if not device.enabled():
        raise DeviceError(f"--device={FLAGS.device}: {device.reason}")
    return device


def chosen_precision() -> tuple[contextlib.AbstractContextManager[None], GradScaler | None]:
    """The meaning of --amp: the context for training and evaluation, and the loss scaler that float16 needs."""
    if FLAGS.amp == "none":
        return contextlib.nullcontext(), None
    return autocast(FLAGS.amp), GradScaler() if FLAGS.amp == "float16" else None


def run_flags() -> dict[str, Any]:
    """The flags that define a run, by name: all of a training program but NOT_OF_THE_RUN."""
    flags_of_program = FLAGS.get_key_flags_for_module("__main__")
    return {flag.name: flag.value for flag in flags_of_program if flag.name not in NOT_OF_THE_RUN}


def adopt_flags(values: dict[str, Any], source: Path) -> None:
    """Sets the flags that were not given to a resumed run's values, which come from the file `source`.

    Raises CheckpointError if a flag was given with a different value, unless it is among FREE_TO_CHANGE.
    """
    for name, value in values.items():
        if name not in FLAGS:
            raise CheckpointError(f"{source}: of a run with --{name}, which this program does not have")
        given = FLAGS[name].value
        if not FLAGS[name].present:
            try:
                setattr(FLAGS, name, value if value is None else FLAGS[name].parser.parse(value))
            except (flags.Error, TypeError, ValueError) as error:
                raise CheckpointError(f"{source}: of a run with --{name}={value!r}: {error}") from None
        elif given != value and name not in FREE_TO_CHANGE:
            raise CheckpointError(f"{source}: of a run with --{name}={value}: cannot --resume with --{name}={given}")
