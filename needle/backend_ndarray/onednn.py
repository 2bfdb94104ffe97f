"""Where oneDNN's library may be. backend_cpu asks only when it first needs a oneDNN kernel."""

from __future__ import annotations

import site
import sysconfig
from pathlib import Path

_FILE = "libdnnl.so.3"


def library_paths() -> list[str]:
    """The library files to try, in order.

    The first is the one beside this file, where Bazel and //:wheel put it; then that of the wheel onednn-cpu-gomp, if
    one is installed; then the system's, a name without a folder, which the system's loader looks up (LD_LIBRARY_PATH,
    /etc/ld.so.conf).
    """
    folders = [Path(__file__).parent]
    # pip puts a wheel's data into the root of the environment or, with --user, below the user's folder.
    folders += [Path(root, "lib") for root in (sysconfig.get_path("data"), site.getuserbase()) if root]
    found = [str(folder / _FILE) for folder in folders if (folder / _FILE).is_file()]
    return [*found, _FILE]
