"""bazel run //tools:develop: makes the checkout importable, for editors, debuggers and plain pytest.

- The compiled modules are copied beside the sources (git ignores them). Copies, as what Bazel's folder holds changes
  with each build: a debugger would lose its module, and a sanitizer's build would end up in a plain Python.
- `.venv` is a virtual environment that sees the checkout and the wheels of the lock file, those that Bazel has already
  downloaded and checked. So its tests run on what Bazel's tests run on, and nothing is downloaded for it.

Bazel itself uses neither: it makes modules and finds wheels on its own.
"""

from __future__ import annotations

import filecmp
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from needle.backend_ndarray import onednn

MODULES = ("needle/backend_ndarray/backend_cpu.so", "needle/backend_ndarray/backend_cuda.so")
PATHS = "needle_checkout.pth"
# backend_cuda.so looks for NVIDIA's libraries beside the package, where pip would put them: links, and to what.
NVIDIA = {
    "nvidia/cu13": "cuda_pip_nvidia_cublas/site-packages/nvidia/cu13",
    "nvidia/cudnn": "cuda_pip_nvidia_cudnn_cu13/site-packages/nvidia/cudnn",
}


def replace(target: Path, make) -> None:
    """make(path) writes a file beside `target`, which takes its place when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        make(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def copy_modules(runfiles: Path, checkout: Path) -> list[str]:
    """Puts the modules of this build beside the sources, and takes away those of another. Returns their names."""
    built = [module for module in MODULES if (runfiles / module).exists()]
    for module in MODULES:
        source, target = runfiles / module, checkout / module
        if module not in built:
            target.unlink(missing_ok=True)
        elif not target.is_file() or not filecmp.cmp(source, target, shallow=False):
            replace(target, functools.partial(shutil.copy, source))
    return built


def link_libraries(wheels: Path, checkout: Path) -> None:
    for name, source in NVIDIA.items():
        target, library = checkout / name, (wheels / source).resolve()
        if library.exists():
            replace(target, lambda partial, library=library: partial.symlink_to(library))
        else:
            target.unlink(missing_ok=True)


def make_environment(folder: Path, paths: list[Path], libdnnl: Path) -> Path:
    """A virtual environment whose Python sees `paths`, and oneDNN's library where a wheel would put it: its Python."""
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    if not packages.is_dir() or not os.access(python, os.X_OK):
        if folder.is_dir() and any(folder.iterdir()) and not any(folder.glob(f"lib/*/site-packages/{PATHS}")):
            sys.exit(f"develop: {folder} is half of an environment, or one of another Python: delete it")
        # Without pip, as Debian's Python makes no environment with one.
        command = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            lines = (made.stderr or made.stdout).strip().splitlines()
            sys.exit(f"develop: {folder} cannot be made: {lines[-1] if lines else 'python3 -m venv said nothing'}")
    text = "".join(f"{path}\n" for path in paths)
    replace(packages / PATHS, lambda partial: partial.write_text(text))
    replace(folder / "lib" / libdnnl.name, lambda partial: partial.symlink_to(libdnnl))
    return python


def develop(runfiles: Path, checkout: Path) -> None:
    """`runfiles` is the folder of this project in the runfiles of //tools:develop."""
    try:
        modules = copy_modules(runfiles, checkout)
        link_libraries(runfiles.parent, checkout)
        wheels = [Path(path) for path in sys.path if path.endswith("/site-packages") and "runfiles" in path]
        libdnnl = Path(onednn.library_paths()[0]).resolve()  # that of the build
        python = make_environment(checkout / ".venv", [checkout, *(wheel.resolve() for wheel in wheels)], libdnnl)
    except OSError as error:
        sys.exit(f"develop: {error.filename2 or error.filename or checkout}: {error.strerror}")
    print(*modules, python.relative_to(checkout), sep="\n")


def main() -> None:
    checkout = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not checkout:
        sys.exit("develop: to be started by `bazel run //tools:develop`, which says where the checkout is")
    develop(Path(__file__).absolute().parent.parent, Path(checkout))


if __name__ == "__main__":
    main()
