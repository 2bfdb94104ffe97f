"""The checkout that //tools:develop makes importable, with the modules and packages of this very test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import needle
from tools import develop

RUNFILES = Path(needle.__file__).parent.parent
MODULE = "needle/backend_ndarray/backend_cpu.so"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """One with the package's sources."""
    folder = tmp_path / "check out"
    shutil.copytree(RUNFILES / "needle", folder / "needle", ignore=shutil.ignore_patterns("*.so*", "__pycache__"))
    return folder


def run(checkout: Path, *arguments: str) -> str:
    """What the environment's Python prints, started elsewhere and without the variables of this test's own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(checkout / ".venv/bin/python"), *arguments]
    return subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True, text=True).stdout


def test_the_checkout_is_importable_from_anywhere(checkout, capsys):
    develop.develop(RUNFILES, checkout)
    assert capsys.readouterr().out.splitlines() == [MODULE, ".venv/bin/python"]
    program = "import hypothesis, matplotlib, pytest, needle; print(needle.__file__); print(needle.show_config())"
    printed = run(checkout, "-c", program)
    assert printed.startswith(str(checkout / "needle/__init__.py")) and "cpu(): enabled, the default" in printed
    assert f"oneDNN 3.2.0, {checkout}/.venv/lib/libdnnl.so.3" in printed


def test_again_it_replaces_what_has_changed(checkout):
    module, other = checkout / MODULE, checkout / "needle/backend_ndarray/backend_cuda.so"
    develop.develop(RUNFILES, checkout)
    before = module.stat().st_ino
    develop.develop(RUNFILES, checkout)
    assert module.stat().st_ino == before
    module.chmod(0o644)
    module.write_bytes(b"of an older source")
    other.write_bytes(b"of another configuration")
    develop.develop(RUNFILES, checkout)
    assert module.read_bytes() == (RUNFILES / MODULE).read_bytes() and module.stat().st_ino != before
    assert not other.exists()
    assert [path.name for path in module.parent.iterdir() if path.name.startswith(".")] == []


def test_nvidias_libraries_lie_beside_the_package(tmp_path, checkout):
    wheels = tmp_path / "wheels"
    (wheels / develop.NVIDIA["nvidia/cu13"]).mkdir(parents=True)
    develop.link_libraries(wheels, checkout)
    assert (checkout / "nvidia/cu13").samefile(wheels / develop.NVIDIA["nvidia/cu13"])
    develop.link_libraries(tmp_path, checkout)  # of a build without CUDA
    assert list((checkout / "nvidia").iterdir()) == []


def test_half_an_environment_is_made_anew(checkout):
    develop.develop(RUNFILES, checkout)
    (checkout / ".venv/bin/python").unlink()
    develop.develop(RUNFILES, checkout)
    assert run(checkout, "-c", "import needle; print(needle.__version__)").strip() == needle.__version__


def test_an_environment_of_somebody_elses_stays(checkout):
    packages = checkout / ".venv/lib/python2.7/site-packages"
    packages.mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"develop: .*\.venv is half of an environment, or one of another Python"):
        develop.develop(RUNFILES, checkout)
    assert packages.is_dir()


@pytest.mark.parametrize(
    "obstacle, expected", [(".venv", r"develop: .*\.venv cannot be made: "), ("needle", "develop: .*needle.*: ")]
)
def test_an_obstacle_is_one_line(checkout, obstacle, expected):
    shutil.rmtree(checkout / obstacle, ignore_errors=True)
    (checkout / obstacle).write_text("")
    with pytest.raises(SystemExit, match=expected) as stop:
        develop.develop(RUNFILES, checkout)
    assert "\n" not in str(stop.value)


def test_outside_of_bazel_run_it_says_how():
    environment = {name: value for name, value in os.environ.items() if name != "BUILD_WORKSPACE_DIRECTORY"}
    done = subprocess.run([sys.executable, develop.__file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("develop: to be started by `bazel run")
