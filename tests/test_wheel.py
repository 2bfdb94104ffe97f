"""The wheel: what is in it is listed with its hash, and it works outside of the checkout."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    (path,) = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"]).glob("needle_dl-*.whl")
    return zipfile.ZipFile(path)


def test_every_file_is_recorded_with_its_hash(wheel):
    (record,) = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
    assert rows.keys() == set(wheel.namelist())
    for name, (digest, size) in rows.items():
        if name != record:
            content = wheel.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={expected}", len(content)), name


def test_the_tag_is_this_pythons(wheel):
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert Path(wheel.filename).name.split("-")[2:] == [version, version, "linux_x86_64.whl"]


def test_it_works_outside_of_the_checkout(wheel, tmp_path):
    wheel.extractall(tmp_path)
    root = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"]).resolve()
    packages = [entry for entry in sys.path if entry and Path(entry).resolve() != root]
    program = "import needle; x = needle.Tensor([[1, 2], [3, 4]]); print(needle.__file__, (x @ x.T).numpy().tolist())"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *packages])},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.split(maxsplit=1) == [str(tmp_path / "needle/__init__.py"), "[[5, 11], [11, 25]]\n"]
