"""Where CIFAR-10 comes from: a folder that is there, an archive, a download, the synthetic set."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading

import numpy as np
import pytest

from needle.data import CIFAR10Dataset, RandomCrop, SyntheticCIFAR10, cifar10, load_cifar10
from needle.data.locate import data_dirs
from needle.errors import DataError
from tests.data.http_server import serve
from tests.data.published_layout import write_cifar10

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own, without data, and no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NEEDLE_DATA_DIR", raising=False)
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/nothing-listens-here")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The bytes of an archive as it is published, of small files."""
    root = tmp_path_factory.mktemp("archive")
    write_cifar10(root / FOLDER)
    (root / FOLDER / "readme.html").write_bytes(b"<html></html>")
    with tarfile.open(root / ARCHIVE, "w:gz") as tar:
        tar.add(root / FOLDER, arcname=FOLDER)
    return (root / ARCHIVE).read_bytes()


@pytest.fixture
def published(archive, monkeypatch):
    """A server that has the archive."""
    with serve(archive) as server:
        monkeypatch.setattr(cifar10, "URL", server.url)
        monkeypatch.setattr(cifar10, "MD5", hashlib.md5(archive).hexdigest())
        yield server


def no_notice(text):
    raise AssertionError(text)


def folder(tmp_path, name, data=False):
    """A folder, with data in it or none."""
    path = tmp_path / name
    path.mkdir(parents=True)
    if data:
        write_cifar10(path / FOLDER)
    return path


def test_the_order_in_which_folders_are_looked_at(tmp_path, home, monkeypatch):
    given = folder(tmp_path, "given")
    assert data_dirs() == [home / ".cache/needle/data"]
    monkeypatch.setenv("NEEDLE_DATA_DIR", "~/mine")
    assert data_dirs(str(given)) == [given, home / "mine", home / ".cache/needle/data"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_folder_with_data_is_used(tmp_path, home, monkeypatch, number):
    monkeypatch.setenv("NEEDLE_DATA_DIR", str(tmp_path / "variable"))
    folders = [folder(tmp_path, "given"), folder(tmp_path, "variable"), folder(home, ".cache/needle/data")]
    for path in folders[number:]:
        write_cifar10(path / FOLDER)
    transform = RandomCrop(4)
    train, test, source = load_cifar10(folders[0], transforms=[transform], notice=no_notice)
    assert source == f"CIFAR-10 in {folders[number] / FOLDER}"
    assert isinstance(train, CIFAR10Dataset) and (len(train), len(test)) == (100, 20)
    assert train.transforms == [transform] and test.transforms == []


def test_the_inner_folder_may_be_given(tmp_path):
    inner = folder(tmp_path, "given", data=True) / FOLDER
    assert load_cifar10(inner, notice=no_notice)[2] == f"CIFAR-10 in {inner}"


def test_nowhere_and_no_network_is_said_in_one_line_and_the_synthetic_set_is_used(home):
    notices = []
    train, test, source = load_cifar10(transforms=RandomCrop(4), notice=notices.append)
    assert source == "synthetic"
    assert isinstance(train, SyntheticCIFAR10) and len(train.transforms) == 1 and test.transforms == []
    assert np.any(train.X[:100] != test.X[:100])
    (notice,) = notices
    assert "\n" not in notice and "cannot be fetched" in notice and "refused" in notice and "synthetic" in notice


def test_an_empty_folder_that_is_given_is_where_the_download_goes(tmp_path, published, home):
    given = folder(tmp_path, "given")
    train, test, source = load_cifar10(given, notice=no_notice)
    assert source == f"CIFAR-10 in {given / FOLDER}" and (len(train), len(test)) == (100, 20)
    assert [path.name for path in given.iterdir()] == [FOLDER]
    assert not home.exists()
    load_cifar10(given, notice=no_notice)
    assert len(published.requests) == 1


def test_without_a_folder_the_download_goes_to_the_cache(published, home):
    assert load_cifar10(notice=no_notice)[2] == f"CIFAR-10 in {home}/.cache/needle/data/{FOLDER}"


def test_a_download_that_is_not_the_published_file_is_not_used(tmp_path, published, monkeypatch):
    monkeypatch.setattr(cifar10, "MD5", "c58f30108f718f92721af3b95e74349a")
    given, notices = folder(tmp_path, "given"), []
    assert load_cifar10(given, notice=notices.append)[2] == "synthetic"
    assert "expected c58f30108f718f92721af3b95e74349a" in notices[0]
    assert list(given.iterdir()) == []


def test_a_variable_that_names_no_possible_folder(monkeypatch):
    monkeypatch.setenv("NEEDLE_DATA_DIR", "/" + "x" * 5000)
    with pytest.raises(DataError, match="File name too long"):
        load_cifar10(notice=no_notice)


def test_a_cache_that_cannot_be_written(published, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    notices = []
    assert load_cifar10(notice=notices.append)[2] == "synthetic"
    assert "/proc/.cache: No such file or directory" in notices[0]


def test_an_archive_that_is_there_is_unpacked_and_kept(tmp_path, archive, published):
    given = folder(tmp_path, "given")
    (given / ARCHIVE).write_bytes(archive)
    assert load_cifar10(given, notice=no_notice)[2] == f"CIFAR-10 in {given / FOLDER}"
    assert sorted(path.name for path in given.iterdir()) == [FOLDER, ARCHIVE]
    assert published.requests == []


def test_a_damaged_archive_is_an_error_and_not_replaced(tmp_path, archive, published):
    given = folder(tmp_path, "given")
    (given / ARCHIVE).write_bytes(archive[:-1])
    with pytest.raises(DataError, match=f"{ARCHIVE}: altered or incomplete: its md5 is"):
        load_cifar10(given, notice=no_notice)
    assert (given / ARCHIVE).read_bytes() == archive[:-1]


@pytest.mark.parametrize("damaged", ["data_batch_2", "test_batch", "batches.meta"])
def test_damaged_data_is_an_error_and_not_replaced(tmp_path, published, damaged):
    given = folder(tmp_path, "given", data=True)
    (given / FOLDER / damaged).write_bytes((given / FOLDER / damaged).read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{damaged}: the file is truncated"):
        load_cifar10(given, notice=no_notice)


def test_an_incomplete_folder_is_an_error(tmp_path, published):
    given = folder(tmp_path, "given")
    (given / FOLDER).mkdir()
    with pytest.raises(DataError, match="data_batch_1: No such file or directory"):
        load_cifar10(given, notice=no_notice)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path, published):
    with pytest.raises(DataError, match="given: No such file or directory"):
        load_cifar10(tmp_path / "given", notice=no_notice)
    with pytest.raises(DataError, match="File name too long"):
        load_cifar10(tmp_path / ("given" * 100), notice=no_notice)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: not a folder"):
        load_cifar10(tmp_path / "file", notice=no_notice)
    assert published.requests == []


def test_the_data_set_itself_downloads_where_asked_to(tmp_path, published):
    assert len(CIFAR10Dataset(tmp_path / "new", train=False, download=True)) == 20
    shutil.rmtree(tmp_path / "new" / FOLDER)
    with pytest.raises(DataError, match="download=True fetches it"):
        CIFAR10Dataset(tmp_path / "new", train=False)
    assert len(published.requests) == 1
    assert len(CIFAR10Dataset(tmp_path / "new" / FOLDER, train=False, download=True)) == 20
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FOLDER]


def test_of_several_at_once_one_downloads(tmp_path, published):
    found = []

    def fetch():
        found.append(cifar10.download_cifar10(tmp_path / "new"))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "new" / FOLDER] * 4
    assert len(published.requests) == 1
