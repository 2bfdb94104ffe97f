"""bazel run //tools:compile_commands [-- OPTION ...]: writes compile_commands.json, from which clangd learns how each
C++ file is compiled. The options are Bazel's, such as --config=cuda.

The commands are what `bazel aquery` says, without what only gcc or a build needs. Where one file has several:

- Kernels are compiled once for each instruction level. AVX-512's command is taken: it is the one that most of the code
  under `#if` belongs to, and the level that recent processors run.
- A .cu file is compiled by nvcc, whose options clangd does not know, and by gcc for the tests without a GPU: the latter
  is taken, and CUDA's own headers are not needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# `...` leaves out what is tagged manual.
TARGETS = (
    "//kernels/... + //tests/kernels/... + //tests/kernels:thread_sanitizer_test"
    " + //benchmarks/matmul_steps/... + //tests/benchmarks:matmul_steps_test"
)
PREFERRED = "-DNEEDLE_LEVEL=avx512"
_INCLUDES = ("-I", "-iquote", "-isystem")
_KEPT = ("-D", "-std=", "-m", "-fopenmp", "-Wall", "-Wextra", "-Wno-unknown-pragmas")
_DROPPED = ("-D_FORTIFY_SOURCE", "-D__DATE__", "-D__TIME__", "-D__TIMESTAMP__", "-MD", "-MF")


class Bazel:
    """Runs commands of Bazel in the checkout; one that fails, having said why, ends the program."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout

    def __call__(self, command: str, *arguments: str) -> str:
        line = [self._checkout / "bazelw", command, *arguments]
        done = subprocess.run(line, cwd=self._checkout, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"compile_commands: bazel {command} failed: compile_commands.json is as it was")
        return done.stdout.decode()


def includes(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """The folders to look for headers in, with their flags; a folder may be in the argument of its flag or the next."""
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        for flag in _INCLUDES:
            if argument.startswith(flag):
                yield flag, argument[len(flag) :].removeprefix("=") or following


def entry(arguments: list[str], checkout: Path, execution_root: Path, extra: list[str]) -> dict | None:
    """One compilation as clangd wants it, or None for a file that is made by the build."""
    source = arguments[arguments.index("-c") + 1]
    if source.endswith(".emulated.cc"):  # a copy: see kernels/cuda/BUILD.bazel
        source = source.split("/bin/", 1)[1].replace(".emulated.cc", ".cu")
    if not (checkout / source).is_file():
        return None
    flags = [a for a in arguments[1:] if a.startswith(_KEPT) and not a.startswith(_DROPPED)]
    for flag, folder in includes(arguments):
        # Folders of the checkout by their own path, so that an editor opens those files and not links to them.
        inside = folder == "." or not folder.startswith(("external/", "bazel-out/", "/"))
        path = os.path.normpath((checkout if inside else execution_root) / folder)
        if os.path.isdir(path):
            flags += [flag, path]
    language = ["-x", "c++"] if source.endswith(".cu") else []
    command = ["g++", *flags, *extra, *language, "-c", source]
    return {"directory": str(checkout), "file": source, "arguments": command}


def choose(entries: list[dict]) -> list[dict]:
    """One entry for each file, sorted by file: the preferred level's, else the first."""
    chosen: dict[str, dict] = {}
    for candidate in entries:
        if candidate["file"] not in chosen or PREFERRED in candidate["arguments"]:
            chosen[candidate["file"]] = candidate
    return [chosen[file] for file in sorted(chosen)]


def compile_commands(actions: list[dict], checkout: Path, execution_root: Path, extra: list[str]) -> list[dict]:
    """`actions` as `bazel aquery --output=jsonproto` prints them, gcc's before nvcc's."""
    found = sorted(actions, key=lambda action: action["mnemonic"] != "CppCompile")
    entries = [entry(action["arguments"], checkout, execution_root, extra) for action in found]
    return choose([each for each in entries if each])


def main() -> None:
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        sys.exit("compile_commands: to be started by `bazel run //tools:compile_commands`")
    checkout, options = Path(workspace), sys.argv[1:]
    bazel = Bazel(checkout)

    # Makes the headers that are the build's own, such as links to those of wheels, and compiles nothing.
    quiet = ["--noshow_progress", "--ui_event_filters=-info"]
    bazel("build", *quiet, "--output_groups=compilation_prerequisites_INTERNAL_", *options, *TARGETS.split(" + "))
    query = f'mnemonic("CppCompile|CudaCompile", {TARGETS})'
    actions = json.loads(bazel("aquery", *quiet, "--output=jsonproto", *options, query))["actions"]
    execution_root = Path(bazel("info", "execution_root").strip())

    # clang has no omp.h. After its own headers, as gcc's immintrin.h is not for it.
    gcc = subprocess.run(["g++", "-print-file-name=include"], check=True, capture_output=True, text=True)
    commands = compile_commands(actions, checkout, execution_root, ["-idirafter", gcc.stdout.strip()])

    target = checkout / "compile_commands.json"
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(commands, indent=1) + "\n")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        sys.exit(f"compile_commands: {target}: {error.strerror}")
    print(f"{target}: {len(commands)} files")


if __name__ == "__main__":
    main()
