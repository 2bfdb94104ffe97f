"""Where the Penn Treebank comes from: a folder that is there, a download, made-up text."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from needle.data import Corpus, SyntheticCorpus, load_ptb, penn_treebank
from needle.errors import DataError

TEXTS = {"train.txt": " a b c \n c b d \n", "valid.txt": " a d \n", "test.txt": " c \n b \n"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own, without data, and no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NEEDLE_DATA_DIR", raising=False)
    monkeypatch.setattr(penn_treebank, "URL", "http://127.0.0.1:9/nothing-listens-here")
    return tmp_path / "home"


@contextlib.contextmanager
def serve_folder(folder):
    """A web server for the files in `folder`: its address, and a list of the paths that were asked for."""
    paths = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", paths
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Site:
    """What a server has, and the paths that it was asked for."""

    folder: Path
    paths: list[str]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server that has the files under the names at which they are published."""
    folder = tmp_path / "www" / "data"
    folder.mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / f"ptb.{name}").write_text(text)
        monkeypatch.setitem(penn_treebank.SHA256, name, hashlib.sha256(text.encode()).hexdigest())
    with serve_folder(tmp_path / "www") as (address, paths):
        monkeypatch.setattr(penn_treebank, "URL", f"{address}/data")
        yield Site(folder, paths)


def no_notice(text):
    raise AssertionError(text)


def write_texts(folder):
    folder.mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)


def folder(tmp_path, name):
    path = tmp_path / name
    path.mkdir(parents=True)
    return path


def check(corpus):
    assert isinstance(corpus, Corpus)
    assert corpus.dictionary.idx2word == ["a", "b", "c", "<eos>", "d"]
    assert corpus.train.tolist() == [0, 1, 2, 3, 2, 1, 4, 3]
    assert corpus.valid.tolist() == [0, 4, 3] and corpus.test.tolist() == [2, 3, 1, 3]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_folder_with_data_is_used(tmp_path, home, monkeypatch, number):
    monkeypatch.setenv("NEEDLE_DATA_DIR", str(tmp_path / "variable"))
    folders = [folder(tmp_path, "given"), folder(tmp_path, "variable"), folder(home, ".cache/needle/data")]
    for path in folders[number:]:
        write_texts(path / "ptb")
    corpus, source = load_ptb(folders[0], notice=no_notice)
    assert source == f"other text in {folders[number] / 'ptb'}"
    check(corpus)


def test_the_inner_folder_may_be_given_and_have_any_name(tmp_path):
    write_texts(tmp_path / "text")
    corpus, source = load_ptb(str(tmp_path / "text"), notice=no_notice)
    assert source == f"other text in {tmp_path / 'text'}"
    check(corpus)


def test_nowhere_and_no_network_is_said_in_one_line_and_made_up_text_is_used(home):
    notices = []
    corpus, source = load_ptb(notice=notices.append)
    assert source == "synthetic" and isinstance(corpus, SyntheticCorpus)
    (notice,) = notices
    assert "\n" not in notice and "cannot be fetched" in notice and "refused" in notice and "made-up text" in notice
    assert load_ptb(folder(home, "empty"), notice=notices.append)[1] == "synthetic"


def test_an_empty_folder_that_is_given_is_where_the_download_goes(tmp_path, site, home):
    given = folder(tmp_path, "given")
    for _ in range(2):
        corpus, source = load_ptb(given, notice=no_notice)
        assert source == f"other text in {given / 'ptb'}"
        check(corpus)
    assert site.paths == ["/data/ptb.train.txt", "/data/ptb.valid.txt", "/data/ptb.test.txt"]
    assert [path.name for path in given.iterdir()] == ["ptb"]
    assert {path.name: path.read_text() for path in (given / "ptb").iterdir()} == TEXTS
    assert not home.exists()


def test_without_a_folder_the_download_goes_to_the_cache(site, home):
    assert load_ptb(notice=no_notice)[1] == f"other text in {home}/.cache/needle/data/ptb"


@pytest.mark.parametrize("missing", TEXTS)
def test_a_download_that_ended_between_files_goes_on_there(tmp_path, site, missing):
    given, notices = folder(tmp_path, "given"), []
    (site.folder / f"ptb.{missing}").rename(tmp_path / "away")
    assert load_ptb(given, notice=notices.append)[1] == "synthetic"
    assert f"ptb.{missing}: HTTP status 404" in notices[0]
    assert [path.name for path in given.iterdir()] == ["ptb.part"]
    (tmp_path / "away").rename(site.folder / f"ptb.{missing}")
    check(load_ptb(given, notice=no_notice)[0])
    assert len(site.paths) == 4 and site.paths.count(f"/data/ptb.{missing}") == 2
    assert [path.name for path in given.iterdir()] == ["ptb"]


@pytest.mark.parametrize("altered", TEXTS)
def test_a_file_that_is_not_the_published_one_is_not_used(tmp_path, site, altered):
    given, notices = folder(tmp_path, "given"), []
    (site.folder / f"ptb.{altered}").write_text(TEXTS[altered] + " a \n")
    assert load_ptb(given, notice=notices.append)[1] == "synthetic"
    assert "altered or incomplete" in notices[0] and f"expected {penn_treebank.SHA256[altered]}" in notices[0]
    assert not (given / "ptb").exists() and not (given / "ptb.part" / altered).exists()


def test_of_several_at_once_one_downloads(tmp_path, site):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(penn_treebank.download_ptb(tmp_path / "new"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "new" / "ptb"] * 4
    assert len(site.paths) == 3


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_data_is_an_error_and_not_replaced(tmp_path, site, name):
    given = tmp_path / "given"
    write_texts(given / "ptb")
    (given / "ptb" / name).write_bytes(b"")
    with pytest.raises(DataError, match=f"ptb/{name}: no words in it"):
        load_ptb(given, notice=no_notice)
    (given / "ptb" / name).unlink()
    with pytest.raises(DataError, match=f"ptb/{name}: No such file or directory"):
        load_ptb(given, notice=no_notice)
    assert site.paths == []


def test_what_is_in_the_way_is_left_alone(tmp_path, site):
    given = folder(tmp_path, "given")
    (given / "ptb").write_bytes(b"no folder")
    with pytest.raises(DataError, match="ptb: not a folder"):
        load_ptb(given, notice=no_notice)
    assert (given / "ptb").read_bytes() == b"no folder"


def test_a_cache_that_cannot_be_written(site, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    notices = []
    assert load_ptb(notice=notices.append)[1] == "synthetic"
    assert "/proc/.cache: No such file or directory" in notices[0]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path, site):
    with pytest.raises(DataError, match="given: No such file or directory"):
        load_ptb(tmp_path / "given", notice=no_notice)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: not a folder"):
        load_ptb(tmp_path / "file", notice=no_notice)
    assert site.paths == []
