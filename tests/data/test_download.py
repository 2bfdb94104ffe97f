from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import tarfile
import threading
import time

import numpy as np
import pytest

from needle.data import download as download_module
from needle.data.download import download, locked, unpack_tar_gz, verify
from needle.errors import DataError
from tests.data.http_server import serve

CONTENT = np.random.RandomState(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download_module, "_RETRY_DELAY", 0.001)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "data.bin"


def fetch(server, target, **options):
    target.parent.mkdir(exist_ok=True)
    return download(server.url, target, progress=False, **options)


def part_of(target):
    return target.with_name("data.bin.part")


def test_download(target):
    with serve(CONTENT) as server:
        assert fetch(server, target, md5=MD5, sha256=hashlib.sha256(CONTENT).hexdigest().upper()) == target
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["data.bin"]


def test_a_file_that_is_there_is_verified_and_not_fetched(target):
    with serve(CONTENT) as server:
        fetch(server, target)
        fetch(server, target, md5=MD5)
        assert len(server.requests) == 1
        with pytest.raises(DataError, match=f"data.bin: altered or incomplete: its md5 is {MD5}, expected 0123"):
            fetch(server, target, md5="0123")
    assert target.read_bytes() == CONTENT


def test_cuts_are_resumed_where_they_happened(target):
    with serve(CONTENT, faults=[("cut", 1_000_000), ("cut", 500_000)]) as server:
        fetch(server, target, md5=MD5)
        assert server.requests == [None, "bytes=1000000-", "bytes=1500000-"]
    assert target.read_bytes() == CONTENT


def test_a_later_call_goes_on_with_what_an_earlier_one_left(target):
    with serve(CONTENT, faults=[("cut", 70_000)] + [("cut", 0)] * 3) as server:
        with pytest.raises(DataError, match="the connection ended after 70000 of 3000000 bytes, 4 times in a row"):
            fetch(server, target, md5=MD5)
        assert part_of(target).read_bytes() == CONTENT[:70_000] and not target.exists()
        fetch(server, target, md5=MD5)
        assert server.requests[-1] == "bytes=70000-"
    assert target.read_bytes() == CONTENT


def test_a_connection_that_is_cut_often_but_moves_on_is_not_given_up(target):
    with serve(CONTENT * 4, faults=[("cut", 1_100_000)] * 10) as server:
        fetch(server, target)
        assert len(server.requests) == 11
    assert target.read_bytes() == CONTENT * 4


def test_a_cut_is_noticed_where_the_length_is_not_told(target):
    with serve(CONTENT, faults=[("chunk", 1_000_000)]) as server:
        fetch(server, target)
        assert server.requests == [None, "bytes=1000000-"]
    assert target.read_bytes() == CONTENT


def test_a_stalled_connection_is_resumed(target):
    with serve(CONTENT, faults=[("stall", 400_000)]) as server:
        fetch(server, target, md5=MD5, timeout=0.2)
        assert server.requests == [None, "bytes=400000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_again(target):
    with serve(CONTENT, faults=[("cut", 1_000_000)], ignores_ranges=True) as server:
        fetch(server, target, md5=MD5)
        assert len(server.requests) == 2
    assert target.read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_asked_for_all(target):
    with serve(CONTENT, faults=[("cut", 1_000_000), ("range", "bytes 5-9/3000000")]) as server:
        fetch(server, target, md5=MD5)
        assert server.requests == [None, "bytes=1000000-", None]
    assert target.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(target):
    with serve(CONTENT, faults=[503, 429]) as server:
        fetch(server, target, md5=MD5)
        assert len(server.requests) == 3
    with serve(CONTENT, faults=[503] * 9) as server:
        with pytest.raises(DataError, match="HTTP status 503 Service Unavailable, 4 times in a row"):
            fetch(server, target.with_name("other"))


@pytest.mark.parametrize("status, reason", [(404, "Not Found"), (403, "Forbidden")])
def test_a_refusal_is_final(target, status, reason):
    with serve(CONTENT, faults=[status]) as server:
        with pytest.raises(DataError, match=f"{server.url}: HTTP status {status} {reason}"):
            fetch(server, target)
        assert len(server.requests) == 1
    assert os.listdir(target.parent) == []


def test_a_wrong_checksum_leaves_nothing(target):
    with serve(b"<html>Please log in to this network</html>") as server:
        with pytest.raises(DataError, match=f"altered or incomplete: its md5 is .*, expected {MD5}"):
            fetch(server, target, md5=MD5)
        assert len(server.requests) == 1
    assert os.listdir(target.parent) == []


def test_what_was_left_of_another_file_is_thrown_away(target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"of an older version" * 1000)
    with serve(CONTENT) as server:
        fetch(server, target, md5=MD5)
        assert server.requests == ["bytes=19000-", None]
    assert target.read_bytes() == CONTENT


def test_what_was_left_of_another_file_and_a_wrong_checksum_leave_nothing(target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"of an older version")
    with serve(CONTENT) as server, pytest.raises(DataError, match="altered or incomplete"):
        fetch(server, target, md5="0123")
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("left, requests", [(CONTENT, 1), (CONTENT + b"longer", 2), (bytes(len(CONTENT)), 2)])
def test_what_was_left_is_all_of_it_or_more(target, left, requests):
    target.parent.mkdir()
    part_of(target).write_bytes(left)
    with serve(CONTENT) as server:
        fetch(server, target, md5=MD5)
        assert len(server.requests) == requests
    assert target.read_bytes() == CONTENT


def test_without_a_network_it_fails_at_once(target, monkeypatch):
    monkeypatch.setattr(download_module, "_RETRY_DELAY", 10)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        start = time.monotonic()
        with pytest.raises(DataError, match="http://127.0.0.1:.*: .*[Rr]efused"):
            target.parent.mkdir()
            download(f"http://127.0.0.1:{unused.getsockname()[1]}/data.bin", target)
        assert time.monotonic() - start < 2


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(target, monkeypatch):
    monkeypatch.setattr(download_module, "_RETRY_DELAY", 10)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(DataError, match="timed out"):
            target.parent.mkdir()
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/data.bin", target, timeout=0.3)
        assert time.monotonic() - start < 2


def test_a_server_that_goes_away_in_the_middle(target):
    with serve(CONTENT, faults=[("cut", 200_000)]) as server:
        original = download_module._fetch

        def fetch_from_nowhere_next(url, *args, **kwargs):
            try:
                original(url, *args, **kwargs)
            finally:
                server.faults[:] = [500] * 99

        download_module._fetch = fetch_from_nowhere_next
        try:
            with pytest.raises(DataError, match="HTTP status 500 .*, 4 times in a row"):
                fetch(server, target)
        finally:
            download_module._fetch = original
    assert part_of(target).stat().st_size == 200_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(target):
    target.parent.mkdir()
    part_of(target).symlink_to("/dev/full")
    with serve(CONTENT) as server, pytest.raises(DataError, match="data.bin: No space left on device"):
        fetch(server, target)


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="Not a directory|File exists"):
        with locked(tmp_path / "file"):
            pass
    with serve(CONTENT) as server, pytest.raises(DataError, match="Not a directory"):
        download(server.url, tmp_path / "file" / "data.bin")


def test_only_web_addresses(tmp_path):
    for url in ("file:///etc/hostname", "ftp://127.0.0.1/x", "data.bin"):
        with pytest.raises(ValueError, match="expected an http or https address"):
            download(url, tmp_path / "x")


def test_the_lock_keeps_others_out(tmp_path):
    order = []

    def other():
        with locked(tmp_path / "folder"):
            order.append("other")

    with locked(tmp_path / "folder"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_verify(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    verify(tmp_path / "x", md5="900150983cd24fb0d6963f7d28e17f72")
    with pytest.raises(DataError, match="missing: No such file"):
        verify(tmp_path / "missing", md5="0")


# Unpacking


def entry(name, data=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, data


FOLDER = entry("set", type=tarfile.DIRTYPE, mode=0o755)
A, B = entry("set/a", b"first" * 1000), entry("set/b", b"second")


@pytest.fixture
def unpack(tmp_path):
    def unpack(*entries, **options):
        with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as tar:
            for info, data in entries:
                tar.addfile(info, io.BytesIO(data))
        return unpack_tar_gz(tmp_path / "set.tar.gz", tmp_path / "set", ["a", "b"], **options)

    return unpack


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_unpack(unpack, tmp_path):
    assert unpack(FOLDER, A, B) == tmp_path / "set"
    assert (tmp_path / "set" / "a").read_bytes() == b"first" * 1000
    assert names(tmp_path) == ["set", "set.tar.gz"] and names(tmp_path / "set") == ["a", "b"]


def test_modes_and_owners_are_not_taken_over(unpack, tmp_path):
    unpack(entry("set/a", b"x", mode=0o6777, uid=12345), B)
    status = (tmp_path / "set" / "a").stat()
    assert status.st_mode & 0o6111 == 0 and status.st_uid == os.getuid()


@pytest.mark.parametrize(
    "extra",
    [
        entry("/tmp/evil", b"x"),
        entry("../evil", b"x"),
        entry("set/../../evil", b"x"),
        entry("b", b"x"),
        entry("../b", b"x"),
        entry("/set/b", b"x"),
        entry("other/b", b"x"),
        entry("evil", b"x"),
        entry("set/evil", b"x"),
        entry("set/deeper/a", b"x"),
        entry("set/deeper", type=tarfile.DIRTYPE),
        entry("other", type=tarfile.DIRTYPE),
        entry("set/a", b"again"),
        entry("set/b", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("set/b", type=tarfile.LNKTYPE, linkname="set/a"),
        entry("set/b", type=tarfile.FIFOTYPE),
        entry("set/b", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("set/b", type=tarfile.BLKTYPE),
    ],
)
def test_whatever_does_not_belong_there_is_refused(unpack, tmp_path, extra):
    with pytest.raises(DataError, match="set.tar.gz: refused, as it holds .*, which has no place there"):
        unpack(FOLDER, A, extra)
    assert names(tmp_path) == ["set.tar.gz"]
    assert not os.path.exists("/tmp/evil") and not (tmp_path.parent / "evil").exists()


def test_a_file_that_is_missing(unpack, tmp_path):
    with pytest.raises(DataError, match="set.tar.gz: lacks b"):
        unpack(FOLDER, A)
    assert names(tmp_path) == ["set.tar.gz"]


def test_an_archive_that_unpacks_to_very_much(unpack, tmp_path):
    with pytest.raises(DataError, match="unpacks to more than 1000000 bytes"):
        unpack(FOLDER, A, entry("set/b", bytes(2_000_000)), max_bytes=1_000_000)
    assert (tmp_path / "set.tar.gz").stat().st_size < 10_000
    assert names(tmp_path) == ["set.tar.gz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: data[:-4],
        lambda data: data[:60] + bytes(20) + data[80:],
        lambda data: b"<html>" * 99,
        lambda data: b"",
    ],
)
def test_a_damaged_archive(unpack, tmp_path, damage):
    shutil.rmtree(unpack(FOLDER, A, B))
    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DataError, match="set.tar.gz: truncated or damaged: "):
        unpack_tar_gz(archive, tmp_path / "set", ["a", "b"])
    assert names(tmp_path) == ["set.tar.gz"]


def test_what_a_killed_process_left_is_cleared_away(unpack, tmp_path):
    left = tmp_path / ".set.unpacking"
    left.mkdir()
    (left / "a").write_bytes(b"half")
    unpack(FOLDER, A, B)
    assert names(tmp_path) == ["set", "set.tar.gz"]


def test_a_folder_that_is_there_is_not_overwritten(unpack, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_bytes(b"precious")
    with pytest.raises(DataError, match="Directory not empty"):
        unpack(FOLDER, A, B)
    assert names(tmp_path / "set") == ["mine"] and names(tmp_path) == ["set", "set.tar.gz"]
