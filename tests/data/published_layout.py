"""Small data sets in the published formats, written by hand: CIFAR-10's pickles as Python 2 made them, idx files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

CLASSES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
CIFAR10_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


class Python2Pickler:
    """Protocol 2 as Python 2's cPickle wrote it: `str` as byte strings, memo numbers from 1, numpy.core.multiarray."""

    def __init__(self) -> None:
        self.memo = 0

    def dumps(self, value) -> bytes:
        return b"\x80\x02" + self._value(value) + b"."

    def _put(self) -> bytes:
        self.memo += 1
        return b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo)

    def _value(self, value) -> bytes:
        if isinstance(value, dict):
            return b"}" + self._put() + b"(" + b"".join(map(self._value, sum(value.items(), ()))) + b"u"
        if isinstance(value, list):
            return b"]" + self._put() + b"(" + b"".join(map(self._value, value)) + b"e"
        if isinstance(value, bytes):
            return string(value) + self._put()
        if isinstance(value, np.ndarray):
            return self._array(value)
        return integer(value)

    def _array(self, array: np.ndarray) -> bytes:
        rows, columns = array.shape
        order, code = array.dtype.str[:1].encode(), array.dtype.str[1:].encode()
        parts = [b"cnumpy.core.multiarray\n_reconstruct\n", self._put(), b"cnumpy\nndarray\n", self._put()]
        parts += [b"K\x00\x85U\x01b\x87R", self._put(), b"(K\x01", integer(rows), integer(columns), b"\x86"]
        parts += [b"cnumpy\ndtype\n", self._put(), string(code), b"K\x00K\x01\x87R", self._put()]
        parts += [b"(K\x03", string(order), b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"]
        parts += [b"\x89", string(array.tobytes()), b"tb"]
        return b"".join(parts)


def string(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value


def integer(value: int) -> bytes:
    return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)


def cifar10_contents(seed: int, count: int) -> dict[bytes, object]:
    """What one file holds: random images and labels."""
    random = np.random.RandomState(seed)
    return {
        b"batch_label": b"training batch 1 of 5",
        b"labels": random.randint(0, 10, count).tolist(),
        b"data": random.randint(0, 256, (count, 3072)).astype(np.uint8),
        b"filenames": [b"image_%d.png" % i for i in range(count)],
    }


def write_cifar10(folder: Path, count: int = 20) -> dict[str, dict]:
    """Write the six files, of `count` images each, and batches.meta into `folder`; returns their contents."""
    folder.mkdir(parents=True)
    contents = {name: cifar10_contents(seed, count) for seed, name in enumerate(CIFAR10_FILES)}
    meta = {b"num_cases_per_batch": count, b"label_names": CLASSES, b"num_vis": 3072}
    for name, content in {**contents, "batches.meta": meta}.items():
        (folder / name).write_bytes(Python2Pickler().dumps(content))
    return contents


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, count: int = 12) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Write gzipped idx files; returns their paths, the images (count, 28, 28) and the labels (count,)."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
    labels = random.randint(0, 10, count).astype(np.uint8)
    image_file, label_file = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    image_file.write_bytes(gzip.compress(idx_bytes(images)))
    label_file.write_bytes(gzip.compress(idx_bytes(labels)))
    return image_file, label_file, images, labels
