"""The folders in which data sets are searched for on this machine.

Data that may exist but cannot be read, for whatever reason, are an error: only missing data may be replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from needle.errors import DataError


def data_dirs(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders to search, in order: `data_dir`, $NEEDLE_DATA_DIR, ~/.cache/needle/data.

    A download goes to the first of them. Raises DataError if a given `data_dir` does not exist, and for a `~` of an
    account without a home folder; but ~/.cache/needle/data is then just left out if there is another folder.
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
    """Whether the path exists. Raises DataError if this cannot be determined, and for a broken symbolic link."""
    return _status(path) is not None


def is_folder(path: Path) -> bool:
    """Whether the folder exists. Raises DataError like `exists`, and for a folder without access or a non-folder."""
    status = _status(path)
    if status is None:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path}: not a folder")
    if not os.access(path, os.X_OK):
        raise DataError(f"{path}: {os.strerror(errno.EACCES)}")
    return True


def _status(path: Path) -> os.stat_result | None:
    """The result of os.stat, or None if nothing exists. (os.path.exists is also False if that cannot be determined.)"""
    try:
        return os.stat(path)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise DataError(f"{path}: a symbolic link to {os.readlink(path)}, where nothing is") from None
        if path != path.parent:
            _status(path.parent)  # which may be a broken link
        return None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _expanded(folder: str | os.PathLike[str]) -> str:
    """The folder with its `~` expanded. Raises DataError if the system knows no home folder for it."""
    expanded = os.path.expanduser(folder)
    if expanded.startswith("~"):
        raise DataError(f"{folder}: met no home folder for this ~: expected $HOME, or an account that has one")
    return expanded
