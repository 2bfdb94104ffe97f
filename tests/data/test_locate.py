"""Where data sets are looked for: what keeps a folder from being read is an error, and never an absent data set."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from needle import command_line
from needle.data import cifar10, load_cifar10, load_ptb, penn_treebank
from needle.data.locate import data_dirs
from needle.errors import DataError
from tests.data.published_layout import write_cifar10


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


# What cannot be read. Each of these spoils, in a folder `where` there may be data, what is called `name`.


def put(where: Path, name: str) -> None:
    """Both data sets, `name` being a file or folder of one of them, the folder itself, or an archive."""
    write_cifar10(where / "cifar-10-batches-py")
    (where / "ptb").mkdir()
    for file in ("train.txt", "valid.txt", "test.txt"):
        (where / "ptb" / file).write_text("a b\n")
    if name.endswith(".tar.gz"):
        shutil.rmtree(where / "cifar-10-batches-py")
        (where / name).write_bytes(b"")


def replace(path: Path) -> Path:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return path


FAULTS: dict[str, Callable[[Path], None]] = {
    "locked": lambda path: path.chmod(0),
    "broken link": lambda path: replace(path).symlink_to("/nowhere/at-all"),
    "link to itself": lambda path: replace(path).symlink_to(path),
    "another kind": lambda path: replace(path).mkdir() if path.is_file() else replace(path).write_bytes(b"x"),
    "broken disk": lambda path: replace(path).symlink_to("/proc/self/mem"),  # reading it is an I/O error
}
REASONS = {
    "locked": "Permission denied",
    "broken link": "(a symbolic link to /nowhere/at-all, where nothing is|No such file or directory)",
    "link to itself": "Too many levels of symbolic links",
    "another kind": "(not a folder|Is a directory)",
    "broken disk": "(not a folder|Input/output error)",
}
OF = {
    ".": (load_cifar10, load_ptb),
    "cifar-10-batches-py": (load_cifar10,),
    "cifar-10-batches-py/batches.meta": (load_cifar10,),
    "cifar-10-batches-py/data_batch_3": (load_cifar10,),
    "cifar-10-batches-py/test_batch": (load_cifar10,),
    "cifar-10-python.tar.gz": (load_cifar10,),
    "ptb": (load_ptb,),
    "ptb/train.txt": (load_ptb,),
    "ptb/test.txt": (load_ptb,),
}


def without_roots_rights(check: Callable[[], None]) -> None:
    """Runs `check` in a process that may read no more than the modes of files allow, root's own or not."""
    child = os.fork()
    if child == 0:
        try:
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
            nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of 32 capabilities and 32 more
            if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
                raise OSError(ctypes.get_errno(), "capset")
            check()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "see standard error"


@pytest.mark.parametrize("place", ["given", "variable", "cache"])
@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_read_is_not_replaced(fault, name, place, home, tmp_path, monkeypatch, capfd):
    folder = home / ".cache/needle/data" if place == "cache" else tmp_path / "data"
    folder.mkdir(parents=True)
    put(folder, name)
    if place == "variable":
        monkeypatch.setenv("NEEDLE_DATA_DIR", str(folder))
    arguments = {"data_dir": folder} if place == "given" else {}
    FAULTS[fault](folder / name if name != "." else folder)

    def check():
        for load in OF[name]:
            notices = []
            with pytest.raises(DataError, match=REASONS[fault]) as caught:
                load(**arguments, notice=notices.append)
            assert str(folder) in str(caught.value) and not notices
        if "/" not in name and not name.endswith(".gz"):  # the rest is read, or unpacked, by a program only
            assert command_line.main(["data", *(f"--data_dir={path}" for path in arguments.values())]) == 1

    without_roots_rights(check) if fault == "locked" else check()
    if "/" not in name and not name.endswith(".gz"):
        output = capfd.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("needle data: error: ") and str(folder) in line


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("load", [load_cifar10, load_ptb])
def test_an_error_of_the_file_system_is_not_an_absent_file(load, error, home, monkeypatch):
    folder, system_stat = home / ".cache/needle/data", os.stat

    def stat(path, *arguments, **options):
        if str(path).startswith(str(folder)):
            raise OSError(error, os.strerror(error), str(path))
        return system_stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(DataError, match=f"{folder}.*: {os.strerror(error)}"):
        load(notice=lambda text: pytest.fail(text))


@pytest.mark.parametrize("load", [load_cifar10, load_ptb])
def test_a_link_on_the_way_to_a_disk_that_is_not_there(load, home, tmp_path, monkeypatch):
    home.mkdir()
    disk = tmp_path / "disk"
    (home / ".cache").symlink_to(disk)
    with pytest.raises(DataError, match=f"{home / '.cache'}: a symbolic link to {disk}, where nothing is"):
        load(notice=lambda text: pytest.fail(text))
    disk.mkdir()
    assert load(notice=lambda text: None)[-1] == "synthetic"
