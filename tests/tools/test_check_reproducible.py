"""tools/check_reproducible.py notices what differs and says where."""

import shutil
import zipfile
from pathlib import Path

import pytest
from tools import check_reproducible

from needle import backend_ndarray

MODULE = Path(backend_ndarray.cpu().kernels.__file__)


def wheel(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.py"), contents)
    return {"x.whl": path}


def test_equal_files_are_equal(tmp_path, capsys):
    one, other = (wheel(tmp_path / f"{name}.whl", a="1", b="2") for name in ("one", "other"))
    assert check_reproducible.compare(one, other)
    assert capsys.readouterr().out.count("bytes") == 2


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"a": "1", "b": "3"}, "members b.py"),
        ({"a": "1"}, "members b.py"),
        ({"b": "2", "a": "1"}, "no member, but their headers or order"),
    ],
)
def test_members_of_wheels_are_named(members, where, tmp_path, capsys):
    one, other = wheel(tmp_path / "one.whl", a="1", b="2"), wheel(tmp_path / "other.whl", **members)
    assert not check_reproducible.compare(one, other)
    assert capsys.readouterr().err == f"check_reproducible: x.whl differs: {where}\n"


def test_sections_of_modules_are_named(tmp_path, capsys):
    changed = tmp_path / "backend_cpu.so"
    shutil.copyfile(MODULE, changed)  # not its permissions: Bazel lets nobody write
    contents = bytearray(changed.read_bytes())
    position = contents.index(b"GCC: (")  # in .comment
    contents[position] ^= 1
    changed.write_bytes(contents)
    assert check_reproducible.difference(changed, MODULE) == f"byte {position}, in section .comment"
    assert not check_reproducible.compare({"m": changed}, {"m": MODULE})
    assert "m differs" in capsys.readouterr().err


def test_another_file_is_a_difference(tmp_path, capsys):
    one = wheel(tmp_path / "one.whl", a="1")
    assert not check_reproducible.compare(one, one | {"y.whl": one["x.whl"]})
    assert "y.whl" in capsys.readouterr().err
