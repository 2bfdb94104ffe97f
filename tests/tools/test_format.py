"""Which files `bazel run //tools:format` takes, and how it calls the formatters. (CI runs it; the wheels are no test's.)"""

from __future__ import annotations

import subprocess

import pytest

from tools import format as format_tool


@pytest.fixture
def checkout(tmp_path):
    for name in ("a.py", "b.pyi", "kernels/c.cu", "kernels/d.h", "text.md", "third_party/e.py", "not_tracked.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    names = ["a.py", "b.pyi", "kernels", "text.md", "third_party"]
    subprocess.run(["git", "-C", str(tmp_path), "add", *names], check=True)
    return tmp_path


@pytest.mark.parametrize("check", [True, False])
def test_commands(checkout, check):
    lint, python, cpp = format_tool.commands(checkout, check)
    assert lint[-2:] == python[-2:] == ["a.py", "b.pyi"] and cpp[-2:] == ["kernels/c.cu", "kernels/d.h"]
    assert ("--fix" in lint) == (not check) == ("-i" in cpp)
    assert ("--check" in python) == check == ("--dry-run" in cpp)


def test_a_file_that_is_deleted_but_still_tracked_is_left_out(checkout):
    (checkout / "a.py").unlink()
    assert format_tool.tracked(checkout, "*.py") == []


def test_another_argument_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["format", "--chek"])
    assert format_tool.main() == 2
    assert "unexpected argument '--chek': expected --check or nothing" in capsys.readouterr().err
