"""Where oneDNN's library may be. backend_cpu asks when it first wants a kernel of it, and not before."""

from __future__ import annotations

import site
import sysconfig
from pathlib import Path

_FILE = "libdnnl.so.3"


def library_paths() -> list[str]:
    """Files to try, in order: the one beside this file, as Bazel and //:wheel put it there; that of the wheel
    onednn-cpu-gomp where one is installed; the system's.

    The last is a name without a folder, which the system's loader looks for (LD_LIBRARY_PATH, /etc/ld.so.conf).
    """
    folders = [Path(__file__).parent]
    # pip puts a wheel's data into the root of the environment, or below the user's folder with --user.
    folders += [Path(root, "lib") for root in (sysconfig.get_path("data"), site.getuserbase()) if root]
    found = [str(folder / _FILE) for folder in folders if (folder / _FILE).is_file()]
    return [*found, _FILE]
