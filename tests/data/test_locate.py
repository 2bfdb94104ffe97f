"""Where data sets are looked for: what keeps a folder from being read is an error, and never an absent data set."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from needle import command_line
from needle.data import cifar10, load_cifar10, load_ptb, penn_treebank
from needle.data.locate import data_dirs
from needle.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own, without data, and no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NEEDLE_DATA_DIR", raising=False)
    for data_set in (cifar10, penn_treebank):
        monkeypatch.setattr(data_set, "URL", "http://127.0.0.1:9/nothing-listens-here")
    return tmp_path / "home"


@pytest.fixture
def nobody(monkeypatch):
    """An account that the system does not know."""

    def unknown(_):
        raise KeyError("no such account")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.mark.parametrize("load", [load_cifar10, load_ptb])
def test_no_home(load, nobody, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no home folder .* --data_dir and \$NEEDLE_DATA_DIR name another"):
        load()
    assert command_line.main(["data"]) == 1 and len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())  # no folder by the name of ~


@pytest.mark.parametrize("folder", ["~", "~/data", "~someone/data"])
def test_a_home_that_nobody_knows(folder, nobody, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=f"^{folder}: met no home folder for this ~: expected "):
        data_dirs(folder)
    monkeypatch.setenv("NEEDLE_DATA_DIR", folder)
    with pytest.raises(DataError, match=f"^{folder}: met no home folder"):
        data_dirs(tmp_path)


def test_whoever_names_a_folder_needs_no_home(nobody, tmp_path, monkeypatch):
    assert data_dirs(tmp_path) == [tmp_path]
    monkeypatch.setenv("NEEDLE_DATA_DIR", "there")
    assert data_dirs() == [Path("there")]
