"""Where data sets are looked for on this machine.

Data that may be there but cannot be read, for whatever reason, are an error: only what is not there may be replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from needle.errors import DataError


def data_dirs(data_dir: str | os.PathLike | None = None) -> list[Path]:
    """The folders to look in, best first: `data_dir`, $NEEDLE_DATA_DIR, ~/.cache/needle/data.

    A download goes to the first of them. A `data_dir` that is given has to exist: a mistyped one is a DataError. So is
    a `~` of an account without a home folder; ~/.cache/needle/data is then left out, if there is another folder.
    """
    folders = []
    if data_dir is not None:
        folder = _expanded(data_dir)
        if not folder:
            raise DataError("data_dir is empty: expected a folder")
        try:
            is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
        except OSError as error:
            raise DataError(f"{data_dir}: {error.strerror}") from error
        if not is_folder:
            raise DataError(f"{data_dir}: not a folder")
        folders.append(folder)
    if os.environ.get("NEEDLE_DATA_DIR"):
        folders.append(_expanded(os.environ["NEEDLE_DATA_DIR"]))
    try:
        folders.append(_expanded("~/.cache/needle/data"))
    except DataError as error:
        if not folders:
            raise DataError(f"{error}; --data_dir and $NEEDLE_DATA_DIR name another") from None
    return [Path(folder) for folder in folders]


def exists(path: Path) -> bool:
    """Whether anything is there. Raises DataError where that cannot be told, and for a symbolic link to nothing."""
    return _status(path) is not None


def is_folder(path: Path) -> bool:
    """Whether a folder is there. Raises DataError as `exists` does, for a closed folder, and for what is no folder."""
    status = _status(path)
    if status is None:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path}: not a folder")
    if not os.access(path, os.X_OK):
        raise DataError(f"{path}: {os.strerror(errno.EACCES)}")
    return True


def _status(path: Path) -> os.stat_result | None:
    """What os.stat says; None where nothing is there. (os.path.exists is False as well where that cannot be told.)"""
    try:
        return os.stat(path)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise DataError(f"{path}: a symbolic link to {os.readlink(path)}, where nothing is") from None
        if path != path.parent:
            _status(path.parent)  # which may be such a link
        return None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _expanded(folder: str | os.PathLike) -> str:
    """The folder, a home folder in place of its `~`. Raises DataError where the system knows of none."""
    expanded = os.path.expanduser(folder)
    if expanded.startswith("~"):
        raise DataError(f"{folder}: met no home folder for this ~: expected $HOME, or an account that has one")
    return expanded
