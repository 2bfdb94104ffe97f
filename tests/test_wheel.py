"""The wheel: what it holds, where it runs, and what a user finds after `pip install`."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import needle as ndl

RUNFILES = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
LIBRARIES = r"needle/backend_ndarray/(backend_\w+\.so|libdnnl\.so\.3)|needle_dl\.libs/libgomp-[0-9a-f]+\.so[.\d]+"


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    (path,) = RUNFILES.glob("dist/*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def files(wheel) -> dict[str, bytes]:
    return {info.filename: wheel.read(info) for info in wheel.infolist() if not info.is_dir()}


@pytest.fixture(scope="module")
def metadata(files) -> Metadata:
    """METADATA, refused where it breaks the specification."""
    return Metadata.from_email(in_distinfo(files, "METADATA"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    result = pip_install(wheel.filename, folder)
    assert result.returncode == 0, result.stderr
    return folder


def in_distinfo(files: dict[str, bytes], name: str) -> bytes:
    (contents,) = [files[path] for path in files if re.fullmatch(rf"[^/]+\.dist-info/{name}", path)]
    return contents


def pip_install(path: str | Path, folder: Path) -> subprocess.CompletedProcess:
    options = ["--isolated", "--disable-pip-version-check", "--no-index", "--no-deps", f"--target={folder}"]
    return subprocess.run([sys.executable, "-m", "pip", "install", *options, path], capture_output=True, text=True)


def run(installed: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a command with the installed needle on Python's path, and with no other."""
    packages = [entry for entry in sys.path if entry and Path(entry).resolve() != RUNFILES.resolve()]
    environment |= {"PYTHONPATH": os.pathsep.join([str(installed), *packages]), "HOME": str(installed)}
    return subprocess.run(command, cwd=installed, capture_output=True, text=True, env=environment, timeout=60)


# What it holds


def test_every_file_is_recorded_with_its_hash(files):
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(in_distinfo(files, "RECORD").decode()))}
    assert rows.keys() == files.keys()
    for name, (digest, size) in rows.items():
        if not name.endswith(".dist-info/RECORD"):
            expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={expected}", len(files[name])), name


def test_it_depends_on_no_clock_and_no_umask(wheel):
    names = [info.filename for info in wheel.infolist()]
    assert len(names) == len(set(names))
    for info in wheel.infolist():
        assert info.date_time == (1980, 1, 1, 0, 0, 0), info.filename
        is_program = info.is_dir() or re.fullmatch(LIBRARIES, info.filename)
        assert info.external_attr >> 16 & 0o777 in ((0o755, 0o644) if is_program else (0o644,)), info.filename


def test_the_metadata_says_what_a_user_wants_to_know(metadata):
    assert metadata.name == "needle-dl"
    assert str(metadata.version) == ndl.__version__
    assert metadata.summary and metadata.author and metadata.keywords and metadata.description
    assert str(metadata.requires_python) == ">=3.10"
    required = {requirement.name for requirement in metadata.requires_dist if "nvidia" not in requirement.name}
    assert required == {"matplotlib", "ml_dtypes", "numpy", "safetensors", "tqdm"}
    assert "Typing :: Typed" in metadata.classifiers


def test_it_holds_the_licence_of_everything_in_it(files, metadata):
    texts = {name: in_distinfo(files, f"licenses/{name}").decode() for name in metadata.license_files}
    assert "Apache License" in texts["LICENSE"] and "Apache License" in texts["onednn/LICENSE"]
    assert "XByak" in texts["onednn/THIRD-PARTY-PROGRAMS"]
    assert "Wenzel Jakob" in texts["pybind11/LICENSE"]
    assert "GNU GENERAL PUBLIC LICENSE" in texts["libgomp/COPYING3"]
    assert "GCC RUNTIME LIBRARY EXCEPTION" in texts["libgomp/COPYING.RUNTIME"]
    assert ("needle/backend_ndarray/backend_cuda.so" in files) == ("cuda_runtime/License.txt" in texts)
    # Nothing has come in that this test does not know of.
    assert all(re.fullmatch(LIBRARIES, name) for name in files if re.search(r"\.so(\.|$)", name))


def test_types_are_in_it(files):
    assert "needle/py.typed" in files
    assert "needle/backend_ndarray/backend_cpu.pyi" in files


@pytest.mark.parametrize("module", [ndl, ndl.ops, ndl.backend_ndarray])
def test_what_is_imported_to_be_public_is_declared_so(module):
    """A type checker takes for private what the file of a typed package imports and does not list."""
    source = Path(module.__file__).read_text()
    imported = re.findall(r"^from \S+ import (?:\(\n(.*?)\)|(.*?)$)", source, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"\w+", " ".join(many or one for many, one in imported))
    assert sorted(names) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in names)


# Where it runs


def test_the_tag_is_this_pythons_and_what_auditwheel_says(wheel, files):
    path = Path(wheel.filename)
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    *_, python, abi, platform = path.stem.split("-")
    assert (python, abi) == (version, version)
    assert re.fullmatch(r"manylinux_2_\d+_x86_64", platform)
    assert in_distinfo(files, "WHEEL").decode().count(f"Tag: {python}-{abi}-{platform}\n") == 1
    show = [sys.executable, "-m", "auditwheel", "show", "--json", path]
    verdict = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
    assert verdict["sym_tag"] == platform and not verdict["unsupported_isa"]
    if "needle/backend_ndarray/backend_cuda.so" not in files:  # it needs libraries of other wheels on purpose
        assert verdict["overall_tag"] == platform


def test_another_python_is_told_so(wheel, tmp_path):
    name = Path(wheel.filename).name
    for_another = tmp_path / name.replace(f"cp{sys.version_info.major}{sys.version_info.minor}", "cp39")
    os.symlink(wheel.filename, for_another)
    result = pip_install(for_another, tmp_path / "installed")
    assert result.returncode == 1
    assert result.stderr.strip() == f"ERROR: {for_another.name} is not a supported wheel on this platform."


def test_libraries_name_no_folder_of_the_machine_that_built_them(files):
    for name in filter(re.compile(LIBRARIES).fullmatch, files):
        folders = re.findall(rb"/(?:home|root|work|build|execroot|sandbox|usr/lib)/[\w./-]*", files[name])
        assert not folders, name


# After pip install


def test_it_works_outside_of_the_checkout(installed):
    program = "import needle; x = needle.Tensor([[1, 2], [3, 4]]); print(needle.__file__, (x @ x.T).numpy().tolist())"
    result = run(installed, sys.executable, "-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split(maxsplit=1) == [str(installed / "needle/__init__.py"), "[[5, 11], [11, 25]]\n"]


OPENMP = """
import ctypes, os
import needle as ndl

def multiply(provider):
    kernels = ndl.cpu().kernels
    kernels.set_provider(provider)
    x = ndl.init.ones(300, 300)
    assert (x @ x).sum().numpy() == 300**3
    return len(os.listdir("/proc/self/task"))

def somebody_else_shows_an_openmp():
    ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)
"""


@pytest.mark.parametrize(
    "program",
    [
        "first = multiply('native')",
        "somebody_else_shows_an_openmp(); first = multiply('native')",
        "first = multiply('native'); somebody_else_shows_an_openmp()",
    ],
)
def test_kernels_and_onednn_share_their_threads(installed, program):
    """Also beside a package that shows an OpenMP to the whole process, as PyTorch does, before Needle's or after."""
    program = f"{OPENMP}\n{program}\nprint(first, multiply('onednn'), multiply('native'))"
    program += "\nprint(ndl.cpu().kernels.onednn_calls()['matmul'], ndl.cpu().kernels.onednn_status())"
    result = run(installed, sys.executable, "-c", program, OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    threads, onednn = result.stdout.splitlines()
    assert threads.split() == ["3", "3", "3"]
    calls, status = onednn.split(maxsplit=1)
    assert calls == "1" and status.startswith("oneDNN 3.") and str(installed) in status


def test_the_command_is_installed(installed):
    command = str(installed / "bin/needle")
    info = run(installed, command, "info")
    assert info.returncode == 0, info.stderr
    assert info.stdout.startswith(f"needle {ndl.__version__}, Python") and "cpu(): enabled" in info.stdout
    assert run(installed, command, "--version").stdout == f"needle {ndl.__version__}\n"
    assert run(installed, sys.executable, "-m", "needle", "--version").stdout == f"needle {ndl.__version__}\n"
