"""Runs auditwheel over a wheel, so that the result depends on nothing but the wheel and the libraries put into it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# The zip format's earliest time, as in wheelmaker.py.
_TIME = "315532800"


def add_headers(source: Path, destination: Path, headers: list[str]) -> None:
    """Copies a wheel, with these headers in its METADATA. The RECORD is left to auditwheel, which writes it anew."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(destination, "w") as new:
        for info in old.infolist():
            contents = old.read(info)
            if info.filename.endswith(".dist-info/METADATA"):
                _, rest = contents.decode().split("\n", 1)
                licences = [name.partition("/licenses/")[2] for name in sorted(old.namelist())]
                files = [f"License-File: {name}" for name in licences if name]
                contents = "\n".join(["Metadata-Version: 2.4", *headers, *files, rest]).encode()
            info.compress_type = zipfile.ZIP_STORED
            new.writestr(info, contents)


def audit(wheel: Path, destination: Path, patchelf: Path, exclude: list[str]) -> None:
    """Writes the repaired wheel into the folder `destination`."""
    environment = os.environ | {"PATH": f"{patchelf.parent}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": _TIME}
    command = [sys.executable, "-m", "auditwheel", "repair", "--plat=auto", f"--wheel-dir={destination}", wheel]
    command += [f"--exclude={library}" for library in exclude]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wheels = list(destination.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = result.stdout.strip().rpartition("\n")[2]
        sys.exit(f"audit_wheel: {wheel.name}: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheel, whose name auditwheel chooses")
    parser.add_argument("--patchelf", type=Path, required=True, help="the program that auditwheel runs")
    parser.add_argument("--exclude", action="append", default=[], help="library that stays outside")
    parser.add_argument("--header", action="append", default=[], help="header to add to METADATA")
    args = parser.parse_args()

    os.umask(0o022)  # the permissions of new files are part of the wheel
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = Path(scratch, args.wheel.name)
            add_headers(args.wheel, wheel, args.header)
            audit(wheel, args.out, args.patchelf.absolute(), args.exclude)
    except OSError as error:
        sys.exit(f"audit_wheel: {error}")


if __name__ == "__main__":
    main()
