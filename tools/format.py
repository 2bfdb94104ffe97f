"""bazel run //tools:format [-- --check]: formats Python by ruff and C++ and CUDA by clang-format, as CONTRIBUTING.md says.

Takes the files that git tracks. With --check nothing is written: it says which files would change, and what ruff finds
wrong in Python, and ends with status 1 if there is anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUNFILES = Path(__file__).absolute().parents[2]  # Bazel's: this project and the wheels, side by side
RUFF = RUNFILES / "format_pip_ruff" / "bin" / "ruff"
CLANG_FORMAT = RUNFILES / "format_pip_clang_format" / "site-packages" / "clang_format" / "data" / "bin" / "clang-format"


def tracked(checkout: Path, *patterns: str) -> list[str]:
    """The files of these patterns that git tracks."""
    command = ["git", "-C", str(checkout), "ls-files", "-z", "--", *patterns]
    names = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    return [name for name in names if name and (checkout / name).is_file() and not name.startswith("third_party/")]


def commands(checkout: Path, check: bool) -> list[list[str]]:
    """What is run in the checkout."""
    python, cpp = tracked(checkout, "*.py", "*.pyi"), tracked(checkout, "*.h", "*.cc", "*.cu")
    return [
        [str(RUFF), "check", "--quiet", *([] if check else ["--fix"]), *python],
        [str(RUFF), "format", "--quiet", *(["--check"] if check else []), *python],
        [str(CLANG_FORMAT), "--style=file", *(["--dry-run", "--Werror"] if check else ["-i"]), *cpp],
    ]


def main() -> int:
    """The status that the program ends with."""
    checkout = Path(os.environ.get("BUILD_WORKSPACE_DIRECTORY", "."))
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(f"format: unexpected argument {sys.argv[1]!r}: expected --check or nothing", file=sys.stderr)
        return 2
    results = [subprocess.run(command, cwd=checkout).returncode for command in commands(checkout, check)]
    if check and any(results):
        print("format: these files are not as `bazel run //tools:format` leaves them", file=sys.stderr)
    return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(main())
