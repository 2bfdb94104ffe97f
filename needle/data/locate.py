"""Where data sets are looked for on this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from needle.errors import DataError


def data_dirs(data_dir: str | os.PathLike | None = None) -> list[Path]:
    """The folders to look in, best first: `data_dir`, $NEEDLE_DATA_DIR, ~/.cache/needle/data.

    A download goes to the first of them. A `data_dir` that is given has to exist: a mistyped one is a DataError.
    """
    folders = []
    if data_dir is not None:
        folder = os.path.expanduser(data_dir)
        try:
            is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
        except OSError as error:
            raise DataError(f"{data_dir}: {error.strerror}") from error
        if not is_folder:
            raise DataError(f"{data_dir}: not a folder")
        folders.append(folder)
    if os.environ.get("NEEDLE_DATA_DIR"):
        folders.append(os.path.expanduser(os.environ["NEEDLE_DATA_DIR"]))
    folders.append(os.path.expanduser("~/.cache/needle/data"))
    return [Path(folder) for folder in folders]
