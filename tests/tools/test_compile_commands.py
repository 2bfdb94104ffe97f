"""What //tools:compile_commands makes of the actions that `bazel aquery` prints. (A test cannot run Bazel itself.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import compile_commands

OUT = "bazel-out/k8-opt/bin"


def compilation(source: str, name: str, *flags: str) -> dict:
    """An action as Bazel 4.2 prints it, shortened."""
    command = ["/usr/bin/gcc", "-U_FORTIFY_SOURCE", "-Wall", "-Wno-free-nonheap-object", "-g0", "-O2"]
    command += ["-D_FORTIFY_SOURCE=1", "-DNDEBUG", "-std=c++0x", "-MD", "-MF", f"{OUT}/{name}.d", "-fPIC"]
    command += ["-iquote", ".", "-iquote", OUT, "-std=c++17", "-fopenmp", *flags, "-fno-canonical-system-headers"]
    command += ['-D__DATE__="redacted"', "-c", source, "-o", f"{OUT}/{name}.o"]
    return {"mnemonic": "CppCompile", "arguments": command}


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """A checkout and Bazel's execution root."""
    checkout, root = tmp_path / "checkout", tmp_path / "root"
    for file in ("kernels/cpu/matmul.cc", "kernels/cuda/copy.cu", "kernels/cuda/cublas.cc", "kernels/bindings/cpu.cc"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).touch()
    (checkout / "kernels/emulation").mkdir()
    for folder in (OUT, "external/python/include", f"{OUT}/external/pybind11/_virtual_includes/headers"):
        (root / folder).mkdir(parents=True)
    return checkout, root


def commands(actions: list[dict], folders: tuple[Path, Path]) -> dict[str, list[str]]:
    found = compile_commands.compile_commands(actions, *folders, ["-idirafter", "/gcc"])
    assert all(each["directory"] == str(folders[0]) for each in found)
    return {each["file"]: each["arguments"] for each in found}


def test_of_several_instruction_levels_avx512_is_taken(folders):
    levels = ("baseline", "avx512", "avx2")
    actions = [compilation("kernels/cpu/matmul.cc", level, f"-DNEEDLE_LEVEL={level}") for level in levels]
    ((file, command),) = commands(actions, folders).items()
    checkout, root = folders
    assert file == "kernels/cpu/matmul.cc"
    flags = ["-Wall", "-DNDEBUG", "-std=c++0x", "-std=c++17", "-fopenmp", "-DNEEDLE_LEVEL=avx512"]
    folders_of_headers = ["-iquote", str(checkout), "-iquote", str(root / OUT), "-idirafter", "/gcc"]
    assert command == ["g++", *flags, *folders_of_headers, "-c", file]


def test_headers_from_outside_are_where_they_exist(folders):
    root = folders[1]
    wheel = f"{OUT}/external/pybind11/_virtual_includes/headers"
    flags = ["-I" + wheel, "-isystem", "external/python/include", "-isystem", f"{OUT}/external/python/include"]
    command = commands([compilation("kernels/bindings/cpu.cc", "cpu", *flags)], folders)["kernels/bindings/cpu.cc"]
    assert command[command.index("-I") + 1] == str(root / wheel)
    assert command.count("-isystem") == 1  # the second folder does not exist
    assert command[command.index("-isystem") + 1] == str(root / "external/python/include")


def test_cuda_files_as_gcc_compiles_them_and_else_as_nvcc_does(folders):
    include = folders[1] / "external/python/include"
    flags = [
        "-o",
        "x.o",
        "-ccbin",
        "/usr/bin/gcc",
        "-gencode=arch=compute_80,code=sm_80",
        f"-isystem={include}",
        "-DX=1",
    ]
    flags += ["-std=c++17", "-Xcompiler=-Wall"]
    nvcc = [
        {"mnemonic": "CudaCompile", "arguments": ["nvcc", "-x", "cu", "-c", source, *flags]}
        for source in ("kernels/cuda/copy.cu", "kernels/cuda/cublas.cc")
    ]
    emulated = compilation(f"{OUT}/kernels/cuda/copy.emulated.cc", "copy", "-isystem", "kernels/emulation")
    found = commands([*nvcc, emulated], folders)
    checkout = folders[0]
    assert found["kernels/cuda/copy.cu"][-4:] == ["-x", "c++", "-c", "kernels/cuda/copy.cu"]
    assert str(checkout / "kernels/emulation") in found["kernels/cuda/copy.cu"]
    assert found["kernels/cuda/cublas.cc"] == ["g++", "-DX=1", "-std=c++17", "-isystem", str(include),
                                               "-idirafter", "/gcc", "-c", "kernels/cuda/cublas.cc"]  # fmt: skip


def test_files_that_the_build_makes_are_left_out(folders):
    assert commands([compilation(f"{OUT}/made.cc", "made")], folders) == {}


def test_where_bazel_fails_nothing_is_written(folders):
    checkout = folders[0]
    bazelw = checkout / "bazelw"
    bazelw.write_text("#!/bin/sh\necho 'ERROR: no such package' >&2\nexit 1\n")
    bazelw.chmod(0o755)
    environment = {**os.environ, "BUILD_WORKSPACE_DIRECTORY": str(checkout)}
    done = subprocess.run([sys.executable, compile_commands.__file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ERROR: no such package",
        "compile_commands: bazel build failed: compile_commands.json is as it was",
    ]
    assert not (checkout / "compile_commands.json").exists()
