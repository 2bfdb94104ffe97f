"""Downloads a file, with resumption and verification, and unpacks a tar.gz without trusting its content.

Both leave their destination either absent or complete: they write to a temporary name and rename it at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from tqdm import tqdm

from needle.errors import DataError

_CHUNK = 1 << 18
_RETRIES = 3  # in a row, each without at least _PROGRESS more bytes
_PROGRESS = 1 << 20
_RETRY_DELAY = 0.5  # seconds, doubled at each retry
_RETRIED_STATUS = (408, 429, 500, 502, 503, 504)


def download(
    url: str,
    destination: str | os.PathLike[str],
    *,
    md5: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float = 5.0,
) -> Path:
    """Downloads `url` to the file `destination` and returns its path; an existing destination is only verified.

    A partial download is kept in `destination` + ".part", and a later call resumes it if the server supports that.
    After an interruption, or if the server is busy, the download is retried a few times. A server that cannot be
    reached at all is not retried, so that a machine without a network fails within `timeout` seconds. Raises DataError
    for any failure. Processes that may download the same file at the same time must hold `locked(folder)` meanwhile.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"download: expected an http or https address, met {url!r}")
    destination = Path(destination)
    part = destination.with_name(destination.name + ".part")
    with disk_errors_of(destination):
        if destination.exists():
            verify(destination, md5=md5, sha256=sha256)
            return destination
        resumed = part.exists()
        _fetch_with_retries(url, part, progress, timeout)
        try:
            verify(part, md5=md5, sha256=sha256)
        except DataError:
            part.unlink()
            if not resumed:
                raise
            # The partial file of an earlier call may be of another file: download again from the start.
            return download(url, destination, md5=md5, sha256=sha256, progress=progress, timeout=timeout)
        os.replace(part, destination)
    return destination


def verify(path: Path, *, md5: str | None = None, sha256: str | None = None) -> None:
    """Raises DataError if the file's checksum is not the given one."""
    for name, expected in (("md5", md5), ("sha256", sha256)):
        if expected is None:
            continue
        digest = hashlib.new(name, usedforsecurity=False)
        with disk_errors_of(path), open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != expected.lower():
            raise DataError(f"{path}: altered or incomplete: its {name} is {digest.hexdigest()}, expected {expected}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Creates `folder` if needed, and holds its lock, so that only one of several processes fetches the data."""
    with disk_errors_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # if the file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_errors_of(path: Path) -> Iterator[None]:
    """Turns an OSError into a DataError that names the file, or `path` if the OSError names none."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error


class _Interrupted(Exception):
    """A network failure that a retry may resolve."""


def _fetch_with_retries(url: str, part: Path, progress: bool, timeout: float) -> None:
    failures = 0
    start = size = _size(part)
    while True:
        try:
            return _fetch(url, part, progress, timeout, is_reachable=size > start or failures > 0)
        except _Interrupted as interrupted:
            arrived, size = _size(part) - size, _size(part)
            failures = 0 if arrived >= _PROGRESS else failures + 1
            if failures > _RETRIES:
                raise DataError(f"{url}: {interrupted}, {failures} times in a row") from interrupted
            time.sleep(_RETRY_DELAY * 2**failures)


def _fetch(url: str, part: Path, progress: bool, timeout: float, is_reachable: bool) -> None:
    """One request for the rest of `part`. `is_reachable`: the server has answered before, so it may answer again."""
    have = _size(part)
    headers = {"User-Agent": "needle"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing left to send: `part` is complete, or of another file
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise _Interrupted("the file has changed") from error
        if error.code in _RETRIED_STATUS:
            raise _Interrupted(f"HTTP status {error.code} {error.reason}") from error
        raise DataError(f"{url}: HTTP status {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if is_reachable:
            raise _Interrupted(str(reason)) from error
        raise DataError(f"{url}: {reason}") from error
    with response:
        if response.status != 206:
            have = 0  # the server sends the whole file
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _Interrupted("the server sent another range than the one asked for")
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        bar = tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None if progress else True
        )
        with bar, open(part, "r+b" if have else "wb") as file:
            file.seek(have)
            while chunk := _read(response):
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise _Interrupted(f"the connection ended after {have} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    """The bytes that have arrived, without waiting for more; b"" at the end."""
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection was cut: {error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _LimitedStream:
    """A stream that raises DataError after `limit` bytes, so that a small archive cannot unpack endlessly."""

    def __init__(self, stream: gzip.GzipFile, limit: int, name: str) -> None:
        self.stream, self.left, self.error = stream, limit, DataError(f"{name}: unpacks to more than {limit} bytes")

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise self.error
        return data


def unpack_tar_gz(
    archive: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    members: Collection[str],
    max_bytes: int = 1 << 29,
) -> Path:
    """Unpacks an archive of one folder, named like `destination`, with the files `members`; returns the path.

    Raises DataError, and leaves nothing behind, if the archive holds anything else: another name, a path, a link, a
    device, or more than `max_bytes`. Only names and contents are taken from it, never owners, modes or times.
    """
    archive, destination = Path(archive), Path(destination)
    temporary = destination.with_name(f".{destination.name}.unpacking")
    missing = set(members)
    with disk_errors_of(destination):
        shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed here
        try:
            temporary.mkdir()
            with gzip.open(archive) as file:
                stream = _LimitedStream(file, max_bytes, str(archive))
                tar = tarfile.open(fileobj=stream, mode="r|")  # type: ignore[call-overload]  # it only reads
                for member in tar:
                    if member.isdir() and member.name == destination.name:
                        continue
                    folder, _, name = member.name.rpartition("/")
                    is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
                    if not is_plain or folder != destination.name or name not in missing:
                        raise DataError(f"{archive}: refused, as it holds {member.name!r}, which has no place there")
                    missing.remove(name)
                    with open(temporary / name, "wb") as unpacked:
                        shutil.copyfileobj(tar.extractfile(member), unpacked)
                while stream.read(_CHUNK):  # read to the end, where gzip's checksum is
                    pass
            if missing:
                raise DataError(f"{archive}: lacks {', '.join(sorted(missing))}")
            os.rename(temporary, destination)
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{archive}: truncated or damaged: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return destination
