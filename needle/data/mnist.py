"""MNIST (LeCun, Cortes, Burges): 70,000 images of handwritten digits, 28 x 28, and other sets in the same format.

The format is idx, big-endian: a magic number 0x000008NN, where 08 stands for bytes and NN is the number of axes, then
the length of each axis as uint32, then the bytes in row-major order.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

from needle.backend_ndarray.arguments import path
from needle.data.dataset import ImageDataset
from needle.data.transforms import Transforms
from needle.errors import DataError
from needle.typing import NumPyArray

_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08
_MAX_BYTES = 1 << 30  # MNIST has 47 MB, the largest set in this format (EMNIST) 547 MB


class MNISTDataset(ImageDataset):
    """Digits. An example is (image, label): float32 (28, 28, 1) in 0..1, and an int.

    Attributes: `X`, uint8 (N, 28, 28, 1), and `y`, int64 (N,).
    """

    def __init__(
        self,
        image_filename: str | os.PathLike[str],
        label_filename: str | os.PathLike[str],
        transforms: Transforms = None,
    ) -> None:
        """The names of the idx files of images (N, H, W) and labels (N,), either .gz, as published, or unpacked.

        Raises DataError for files that are missing, truncated, altered or malformed, or not of the same length.
        """
        images = _read_idx(path("MNISTDataset", "image_filename", image_filename), 3)
        labels = _read_idx(path("MNISTDataset", "label_filename", label_filename), 1)
        if len(images) != len(labels):
            raise DataError(f"{image_filename} has {len(images)} images, but {label_filename} has {len(labels)} labels")
        super().__init__(images[..., None], labels, transforms)


def _read_idx(path: os.PathLike[str], axes: int) -> NumPyArray:
    """The uint8 array with `axes` axes in the idx file `path`."""
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
        with (gzip.open if is_gzip else open)(path, "rb") as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes:
                raise DataError(f"{path}: truncated: an idx header of {4 + 4 * axes} bytes expected, met {len(header)}")
            magic, *shape = np.frombuffer(header, ">u4").tolist()
            if magic != _UINT8 << 8 | axes:
                raise DataError(f"{path}: magic number {magic:#010x}, expected {_UINT8 << 8 | axes:#010x}")
            size = math.prod(shape)
            if size > _MAX_BYTES:
                raise DataError(f"{path}: shape {tuple(shape)} is larger than {_MAX_BYTES} bytes")
            data = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if len(data) != size:
        met = f"only {len(data)}" if len(data) < size else "more"
        raise DataError(f"{path}: shape {tuple(shape)} needs {size} bytes of data, met {met}")
    return np.frombuffer(data, np.uint8).reshape(shape)
