#!/usr/bin/env python3
"""Builds twice and compares the bytes: tools/check_reproducible.py [--config=cuda]

First here, as the output folder has it or as it becomes; then a clone of the same commit, at another path, with an
empty output folder and no cache, another umask, another sandbox, and an environment full of traps. Prints what both made.
Needs a checkout without changes. Ends with 77 where there is too little room. docs/reproducible-builds.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NEEDED_GB = 4


def run(command: list[str], **kwargs) -> str:
    """What the command prints. If it fails, this program ends with its status, after its messages."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, **kwargs)
    if result.returncode:
        sys.exit(f"check_reproducible: `{' '.join(map(str, command))}` failed with status {result.returncode}")
    return result.stdout


def build(checkout: Path, modules: list[str], startup: list[str], options: list[str], **kwargs) -> dict[str, Path]:
    """Builds the modules of needle/backend_ndarray and the wheel; returns where they are."""
    bazel = [str(checkout / "bazelw"), *startup]
    targets = ["//:wheel", *(f"//needle/backend_ndarray:{module}" for module in modules)]
    run([*bazel, "build", *options, *targets], cwd=checkout, **kwargs)
    bazel_bin = run([*bazel, "info", *options, "bazel-bin"], cwd=checkout, stderr=subprocess.DEVNULL, **kwargs)
    folder = Path(bazel_bin.strip())
    paths = [folder / "needle/backend_ndarray" / module for module in modules]
    return {path.name: path for path in [*paths, *sorted(folder.glob("dist/*.whl"))]}


def full_of_traps(folder: Path) -> dict[str, str]:
    """An environment of which no action may see anything: its compilers, headers and modules are the wrong ones."""
    folder.mkdir()
    for header in ("vector", "stdint.h", "omp.h"):
        (folder / header).write_text("#error taken from the environment\n")
    for module in ("zipfile", "json", "sitecustomize"):
        (folder / f"{module}.py").write_text("raise SystemExit('taken from the environment')\n")
    wrong = dict.fromkeys(("CC", "CXX", "AR", "LD", "NM", "OBJCOPY"), "/bin/false")
    wrong |= dict.fromkeys(
        ("CFLAGS", "CXXFLAGS", "LDFLAGS", "BAZEL_CXXOPTS", "BAZEL_LINKOPTS", "BAZEL_LINKLIBS"), "-DWRONG=1"
    )
    wrong |= dict.fromkeys(("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "PYTHONPATH"), str(folder))
    wrong |= {"PYTHONHASHSEED": "1", "PYTHONHOME": str(folder), "SOURCE_DATE_EPOCH": "1000000000"}
    return os.environ | wrong | {"LANG": "C", "LC_ALL": "C", "TZ": "Pacific/Chatham", "USER": "somebody"}


def difference(first: Path, second: Path) -> str:
    """Where two files differ: members of wheels, sections of modules, else the position."""
    if first.suffix == ".whl":
        with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as other:
            crcs = [{info.filename: info.CRC for info in wheel.infolist()} for wheel in (one, other)]
            names = sorted(name for name in crcs[0].keys() | crcs[1].keys() if crcs[0].get(name) != crcs[1].get(name))
        return f"members {', '.join(names)}" if names else "no member, but their headers or order"
    one, other = first.read_bytes(), second.read_bytes()
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} bytes"
    position = next(i for i, (a, b) in enumerate(zip(one, other)) if a != b)
    sections = run(["readelf", "--wide", "--sections", str(first)])
    # [Nr] Name Type Address Off Size
    for name, kind, offset, size in re.findall(r"^ *\[ *\d+\] (\S+) +(\w+) +\w+ (\w+) (\w+) ", sections, re.MULTILINE):
        if kind != "NOBITS" and int(offset, 16) <= position < int(offset, 16) + int(size, 16):
            return f"byte {position}, in section {name}"
    return f"byte {position}"


def compare(first: dict[str, Path], second: dict[str, Path]) -> bool:
    """Prints both; returns whether everything is the same."""
    same = first.keys() == second.keys()
    if not same:
        print(f"check_reproducible: here {sorted(first)}, there {sorted(second)}", file=sys.stderr)
    for name in sorted(first.keys() & second.keys()):
        paths = first[name], second[name]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        print(f"{name}\n  here   {paths[0].stat().st_size:>11,} bytes  {digests[0]}")
        print(f"  there  {paths[1].stat().st_size:>11,} bytes  {digests[1]}")
        if digests[0] != digests[1]:
            print(f"check_reproducible: {name} differs: {difference(*paths)}", file=sys.stderr)
            same = False
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", action="append", default=[], help="a configuration of .bazelrc, beside ci")
    arguments = parser.parse_args()
    options = [f"--config={name}" for name in ["ci", *arguments.config]]
    modules = ["backend_cpu.so"] + ["backend_cuda.so"] * ("cuda" in arguments.config)

    if run(["git", "status", "--porcelain"], cwd=CHECKOUT):
        sys.exit("check_reproducible: there are changes that are not committed; what is compared is a commit")
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    if free < NEEDED_GB:
        folder = tempfile.gettempdir()
        print(f"check_reproducible: needs {NEEDED_GB} GB in {folder}, which has {free:.1f} GB", file=sys.stderr)
        sys.exit(77)

    with tempfile.TemporaryDirectory(prefix="check_reproducible.") as scratch:
        clone, output_root = Path(scratch, "a", "clone"), Path(scratch, "output")
        run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)])
        first = build(CHECKOUT, modules, [], options)
        startup = [f"--output_user_root={output_root}"]
        start = time.monotonic()
        try:
            cold = ["--disk_cache=", "--symlink_prefix=/", "--spawn_strategy=processwrapper-sandbox"]
            environment = full_of_traps(Path(scratch, "traps"))
            second = build(clone, modules, startup, [*options, *cold], env=environment, umask=0o077)
            print(f"built again in {time.monotonic() - start:.0f} s")
            same = compare(first, second)
        finally:
            subprocess.run([str(clone / "bazelw"), *startup, "shutdown"], cwd=clone, stderr=subprocess.DEVNULL)
            subprocess.run(["chmod", "-fR", "u+w", str(output_root)])  # Bazel takes the right to write away
    sys.exit(0 if same else "check_reproducible: the two builds differ")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
