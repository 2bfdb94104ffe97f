"""The command `needle`: what it prints, and that a mistake is one line."""

import hashlib
import os
import subprocess
import sys

import pytest

import needle as ndl
from needle.command_line import main
from needle.data import cifar10, penn_treebank
from needle.data.corpus import FILES
from tests.data.http_server import serve

TEXT = b"the cat sat\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The folder for data of a user who has none, on a machine without a network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NEEDLE_DATA_DIR", raising=False)
    monkeypatch.setattr(penn_treebank, "URL", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/nothing-listens-here.tar.gz")
    return tmp_path / "home/.cache/needle/data"


@pytest.fixture
def server(monkeypatch):
    with serve(TEXT) as server:
        monkeypatch.setattr(penn_treebank, "URL", server.url)
        monkeypatch.setattr(penn_treebank, "SHA256", {name: hashlib.sha256(TEXT).hexdigest() for name in FILES})
        monkeypatch.setattr(cifar10, "URL", server.url)
        yield server


def failure(capsys, *arguments):
    """The exit status of a mistake, and the one line that it gives."""
    try:
        status = main(arguments)
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line and not line.startswith("Downloading ")]
    assert len(lines) == 1 and captured.out == "", captured
    return status, lines[0]


def test_info_is_what_show_config_says(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out == ndl.show_config() + "\n"


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["info", "--help"], ["--version"]])
def test_help_and_version(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 0 and capsys.readouterr().out


def test_data_lists_what_is_there_and_where_it_looked(capsys, home, tmp_path, monkeypatch):
    assert main(["data"]) == 0
    output = capsys.readouterr().out
    assert "CIFAR-10: not here; needle data --download cifar10" in output and f"Looked in {home}\n" in output

    (home / "ptb").mkdir(parents=True)
    for name in FILES:
        (home / "ptb" / name).write_bytes(TEXT)
    monkeypatch.setenv("NEEDLE_DATA_DIR", str(tmp_path))
    assert main(["data"]) == 0
    output = capsys.readouterr().out
    assert f"Penn Treebank: in {home / 'ptb'}" in output and f"Looked in {tmp_path}, {home}\n" in output
    assert main(["data", "--download=ptb"]) == 0
    assert capsys.readouterr().out == f"Penn Treebank is in {home / 'ptb'} already\n"


def test_download_says_where_it_put_the_data(capsys, server, home, tmp_path):
    assert main(["data", "--download=ptb"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"Penn Treebank is in {home / 'ptb'}, verified\n"
    assert f"Downloading Penn Treebank (6 MB) to {home}\n" in captured.err
    assert (home / "ptb/train.txt").read_bytes() == TEXT

    # A folder that is named is the only one that counts.
    assert main(["data", "--download=ptb", f"--data_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out == f"Penn Treebank is in {tmp_path / 'ptb'}, verified\n"


def test_a_changed_download_is_refused_and_not_kept(capsys, server, tmp_path):
    status, line = failure(capsys, "data", "--download=cifar10", f"--data_dir={tmp_path}")
    assert status == 1 and line.startswith("needle data: error: ") and "altered or incomplete" in line
    assert list(tmp_path.glob("cifar*")) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "needle: error: the following arguments are required: COMMAND"),
        (["train"], "needle: error: argument COMMAND: invalid choice: 'train'"),
        (["info", "x"], "needle: error: unrecognized arguments: x"),
        (["data", "--download"], "needle data: error: argument --download: expected one argument"),
        (["data", "--download=imagenet"], "needle data: error: argument --download: invalid choice: 'imagenet'"),
    ],
)
def test_a_mistake_on_the_command_line(capsys, arguments, expected):
    status, line = failure(capsys, *arguments)
    assert status == 2 and line.startswith(expected) and line.endswith("--help)")


def test_folders_that_cannot_be_used(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for folder, reason in [("absent", "No such file or directory"), ("file", "not a folder")]:
        status, line = failure(capsys, "data", f"--data_dir={tmp_path / folder}")
        assert (status, line) == (1, f"needle data: error: {tmp_path / folder}: {reason}")
    monkeypatch.setenv("NEEDLE_DATA_DIR", str(tmp_path / "file/below"))
    status, line = failure(capsys, "data", "--download=ptb")
    assert (status, line) == (1, f"needle data: error: {tmp_path / 'file/below'}: Not a directory")


@pytest.mark.parametrize("name", ["cifar10", "ptb"])
def test_no_network(capsys, name):
    status, line = failure(capsys, "data", f"--download={name}")
    assert status == 1 and line.startswith("needle data: error: http://127.0.0.1:9/") and "refused" in line


def test_no_free_disk(capsys, server, tmp_path):
    (tmp_path / "ptb.part").mkdir()
    (tmp_path / "ptb.part/train.txt.part").symlink_to("/dev/full")
    status, line = failure(capsys, "data", "--download=ptb", f"--data_dir={tmp_path}")
    assert status == 1 and line.endswith("No space left on device")
    assert not (tmp_path / "ptb").exists()


def test_control_c_is_quiet(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(penn_treebank, "download", interrupted)
    assert failure(capsys, "data", "--download=ptb") == (130, "needle data: interrupted")


def run_to(output, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "needle", *arguments]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, env=environment)


def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        result = run_to(full, "info")
    assert (result.returncode, result.stderr) == (1, "needle info: error: No space left on device\n")


def test_a_reader_that_has_seen_enough():
    reader, writer = os.pipe()
    os.close(reader)
    result = run_to(writer, "data")
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
