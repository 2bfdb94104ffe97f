#!/usr/bin/env python3
"""Writes the lock files anew, or checks them.

    third_party/update_locks.py [NAME ...] [--upgrade-package PACKAGE]
    third_party/update_locks.py --check [NAME ...]

NAME_lock.txt gets the newest versions for Python 3.10 that NAME.in allows, with the hashes of all their files, those
for newer Pythons among them; README.md gets the versions, too. With --upgrade-package, only that package changes. Without
names all are written, requirements first: the others take its versions of what it has.

--check writes nothing. It says whether each file has just what its NAME.in asks for, and whether each hash is one that
the package index gives for that version. Nothing but metadata is downloaded. The index is the one that pip is configured
for; further ones, and folders of wheels, are not looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = sorted((path.stem for path in FOLDER.glob("*.in")), key=lambda name: (name != "requirements", name))
UV = "uv==0.13.9 --hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"  # Linux, x86-64

# The hashes are those of PyPI, whose PyTorch for Linux is built for CUDA and needs NVIDIA's libraries (3 GB). The
# project also publishes the same release built for the processor alone ("+cpu", 190 MB, no further libraries); where pip
# has an index that lists it with its hash, it is what pip takes, so its hashes are added (Linux, x86-64, Python 3.11 to
# 3.13).
CPU_BUILDS = {
    "torch==2.13.0": [
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    ]
}


def parse_lock(text: str) -> dict[str, set[str]]:
    """From "package==version" to its hashes."""
    pins: dict[str, set[str]] = {}
    for line in text.replace("\\\n", "").splitlines():
        requirement, *options = line.partition("#")[0].split() or [""]
        if requirement:
            pins[requirement] = {option.removeprefix("--hash=sha256:") for option in options}
    return pins


def compile_lock(uv: Path, name: str, output: Path, options: list[str]) -> None:
    """Runs `uv pip compile`, which keeps what `output` pins unless the options say otherwise."""
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--generate-hashes", "--only-binary=:all:"]
    command += ["--python-version=3.10", "--python-platform=x86_64-manylinux_2_28", f"--output-file={output}"]
    if name != "requirements":
        command.append("--constraint=requirements_lock.txt")
    if index := pip_setting("index-url"):
        command.append(f"--default-index={index}")
    result = subprocess.run([*command, *options, f"{name}.in"], cwd=FOLDER, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"update_locks: {name}: {' '.join(result.stderr.split())}")
    header = f"# Written by third_party/update_locks.py {name}\n"
    output.write_text(header + re.sub(r"^torch==.*\n", add_cpu_builds, output.read_text(), flags=re.MULTILINE))


def add_cpu_builds(line: re.Match) -> str:
    hashes = CPU_BUILDS.get(line[0].split()[0], [])
    return line[0] + "".join(f"    --hash=sha256:{value} \\\n" for value in hashes)


def pip_setting(name: str) -> str:
    """As pip is configured on this machine, which uv does not look at; "" if it is not."""
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    configured = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return os.environ.get(f"PIP_{name.upper().replace('-', '_')}", configured)


def update(uv: Path, name: str, options: list[str]) -> None:
    lock = FOLDER / f"{name}_lock.txt"
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".update_locks.") as scratch:
        output = Path(scratch, lock.name)
        if lock.exists():
            output.write_text(lock.read_text())
        compile_lock(uv, name, output, options)
        os.replace(output, lock)


def update_readme() -> None:
    """Puts the locked versions into the tables of README.md, under the heading of each lock file."""
    readme = FOLDER / "README.md"
    parts = re.split(r"^(?=##)", readme.read_text(), flags=re.MULTILINE)
    for index, part in enumerate(parts):
        if heading := re.match(r"### `(\w+_lock.txt)`", part):
            for requirement in parse_lock((FOLDER / heading[1]).read_text()):
                package, _, version = requirement.partition("==")
                parts[index] = re.sub(
                    rf"^(\| {package} \|) [^ |]+ ", rf"\1 {version} ", parts[index], flags=re.MULTILINE
                )
    readme.write_text("".join(parts))


def check(uv: Path, name: str) -> list[str]:
    """What is wrong with a lock file, a sentence each."""
    locked = parse_lock((FOLDER / f"{name}_lock.txt").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        pins, fresh = Path(scratch, "pins.txt"), Path(scratch, "lock.txt")
        pins.write_text("\n".join(locked))
        compile_lock(uv, name, fresh, [f"--constraint={pins}"])
        asked_for = parse_lock(fresh.read_text())
    wrong = [f"{name}_lock.txt lacks {requirement}" for requirement in asked_for.keys() - locked.keys()]
    for requirement, hashes in locked.items():
        if requirement not in asked_for:
            wrong.append(f"{name}_lock.txt has {requirement}, which nothing asks for")
        elif not hashes:
            wrong.append(f"{name}_lock.txt has no hash of {requirement}")
        elif unknown := hashes - asked_for[requirement]:
            wrong.append(
                f"{name}_lock.txt: the index does not give these hashes of {requirement}: {', '.join(unknown)}"
            )
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(NAMES))
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--upgrade-package", metavar="PACKAGE", action="append", default=[])
    arguments = parser.parse_args()
    if arguments.check and arguments.upgrade_package:
        parser.error("--check writes nothing: expected it without --upgrade-package")
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"'{name}', expected {', '.join(NAMES)}")
    names = arguments.names or NAMES

    with tempfile.TemporaryDirectory() as tools:
        requirement = Path(tools, "uv.txt")
        requirement.write_text(UV)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        result = subprocess.run([*install, "--target", tools, "-r", requirement], capture_output=True, text=True)
        if result.returncode:
            reason = result.stderr.strip().rpartition("\n")[2]
            sys.exit(f"update_locks: pip cannot install {UV.split()[0]}: {reason}")
        uv = Path(tools, "bin/uv")
        if arguments.check:
            wrong = [sentence for name in names for sentence in check(uv, name)]
            sys.exit("\n".join(f"update_locks: {sentence}" for sentence in wrong) or None)
        upgrade = [f"--upgrade-package={package}" for package in arguments.upgrade_package] or ["--upgrade"]
        for name in names:
            update(uv, name, upgrade)
        update_readme()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
