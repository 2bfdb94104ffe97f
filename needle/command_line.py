"""The command `needle`: shows the configuration of this installation, and downloads data sets.

The result goes to standard output, everything else to standard error. A user's mistake prints one line there and exits
with status 2 if it is on the command line, else 1. Ctrl-C prints one line and exits with status 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from needle.config import __version__, show_config
from needle.data.cifar10 import download_cifar10, find_cifar10
from needle.data.corpus import find_corpus
from needle.data.locate import data_dirs
from needle.data.penn_treebank import download_ptb
from needle.errors import NeedleError


@dataclass(frozen=True)
class _DataSet:
    title: str
    size: str  # of the download
    find: Callable[[Path], Path | None]  # its path, if a folder contains it
    download: Callable[[Path], Path]  # into a folder; returns its path


_DATA_SETS = {
    "cifar10": _DataSet("CIFAR-10", "163 MiB", find_cifar10, download_cifar10),
    "ptb": _DataSet("Penn Treebank", "6 MB", find_corpus, download_ptb),
}


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="needle", description="Needle, a deep learning framework. In Python: import needle as ndl")
    parser.add_argument("--version", action="version", version=f"needle {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="say what this build is and what it runs on")
    info.set_defaults(run=lambda arguments: print(show_config()), prog=info.prog)

    data = commands.add_parser(
        "data",
        help="list or download data sets",
        description="Lists the data sets that can be downloaded and where they are on this machine, or downloads one.",
    )
    data.add_argument("--download", choices=_DATA_SETS, help="fetch this one, verify and unpack it")
    data.add_argument(
        "--data_dir",
        metavar="DIR",
        help="folder to look in and to download to; else the first of $NEEDLE_DATA_DIR, ~/.cache/needle/data",
    )
    data.set_defaults(run=_data, prog=data.prog)
    return parser


def _data(arguments: argparse.Namespace) -> None:
    folders = data_dirs(arguments.data_dir)
    if arguments.data_dir is not None:
        folders = folders[:1]
    if arguments.download:
        _download(_DATA_SETS[arguments.download], folders)
    else:
        _list(folders)


def _list(folders: Sequence[Path]) -> None:
    for name, data_set in _DATA_SETS.items():
        found = _find(data_set, folders)
        state = f"in {found}" if found else f"not here; needle data --download {name} fetches {data_set.size}"
        print(f"{name:8} {data_set.title}: {state}")
    print(f"Looked in {', '.join(map(str, folders))}")


def _download(data_set: _DataSet, folders: Sequence[Path]) -> None:
    found = _find(data_set, folders)
    if found:
        print(f"{data_set.title} is in {found} already")
    else:
        print(f"Downloading {data_set.title} ({data_set.size}) to {folders[0]}", file=sys.stderr, flush=True)
        print(f"{data_set.title} is in {data_set.download(folders[0])}, verified")


def _find(data_set: _DataSet, folders: Sequence[Path]) -> Path | None:
    return next((found for folder in folders if (found := data_set.find(folder))), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line, by default that of the process, and returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except NeedleError as error:
        print(f"{arguments.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except OSError as error:  # of standard output, which the interpreter must not try to flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a broken pipe only means that the reader has stopped
            print(f"{arguments.prog}: error: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{arguments.prog}: interrupted", file=sys.stderr)
        return 130
    return 0
