"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32 x 32 in ten classes; 50,000 for training, 10,000 for testing.

https://www.cs.toronto.edu/~kriz/cifar.html. The archive unpacks to a folder `cifar-10-batches-py` of pickles made by
Python 2. Each is a dict of "data", uint8 (10000, 3072), whose rows hold the red, green and blue planes of 32 x 32 in
this order, and "labels", a list of 10,000 numbers in 0..9. `restricted_unpickler` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from needle.backend_ndarray.arguments import path
from needle.data.dataset import ImageDataset
from needle.data.download import download, locked, unpack_tar_gz
from needle.data.locate import data_dirs, exists, is_folder
from needle.data.restricted_unpickler import load
from needle.data.synthetic import SyntheticCIFAR10
from needle.data.transforms import Transforms
from needle.errors import DataError
from needle.typing import NumPyArray

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"

# Statistics of the training images' pixels per channel, in 0..1, for Normalize.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)

NUM_CLASSES = 10
IMAGE_SHAPE = (3, 32, 32)
_IMAGE_SIZE = 3 * 32 * 32
_TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST_FILES = ("test_batch",)
_META_FILE = "batches.meta"
_EXAMPLES_PER_FILE = 10000


class CIFAR10Dataset(ImageDataset):
    """CIFAR-10. An example is (image, label): float32 (3, 32, 32) in 0..1, and an int in 0..9.

    Attributes: `X`, uint8 (N, 3, 32, 32), and `y`, int64 (N,), with N = 50,000 or 10,000.
    """

    def __init__(
        self,
        base_folder: str | os.PathLike[str],
        train: bool,
        p: float = 0.5,
        transforms: Transforms = None,
        download: bool = False,
    ) -> None:
        """`base_folder` contains, or is, the folder `cifar-10-batches-py`; `download=True` fetches it if it is missing.

        `p` is kept as an attribute because the course's code passes it; only `transforms` change images.
        Raises DataError for files that are missing, truncated, altered or malformed.
        """
        base_folder = path("CIFAR10Dataset", "base_folder", base_folder)
        folder = find_cifar10(base_folder)
        if folder is None and download:
            folder = download_cifar10(base_folder.parent if base_folder.name == FOLDER else base_folder)
        if folder is None:
            raise DataError(f"{base_folder}: no folder {FOLDER} in it, and none of its files; download=True fetches it")
        images, labels = _read_files(folder, _TRAIN_FILES if train else _TEST_FILES)
        super().__init__(images, labels, transforms)
        self.p = p


def load_cifar10(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    transforms: Transforms = None,
    test_transforms: Transforms = None,
    notice: Callable[[str], None] = print,
) -> tuple[ImageDataset, ImageDataset, str]:
    """Loads CIFAR-10 from the folders of `locate.data_dirs`, else downloads it, else falls back to the synthetic set.

    Returns the training set, with `transforms`, the test set, with `test_transforms`, and a text that says where they
    come from. A fallback to the synthetic set is reported through `notice`. Raises DataError for a `data_dir` that does
    not exist, and for data that are found but damaged, or that may exist but cannot be read; such data are never
    replaced.
    """
    folders = data_dirs(data_dir)
    folder = next((found for found in map(find_cifar10, folders) if found is not None), None)
    if folder is None:
        with_archive = next((folder for folder in folders if exists(folder / ARCHIVE)), None)
        folder = None if with_archive is None else download_cifar10(with_archive)
    if folder is None:
        try:
            folder = download_cifar10(folders[0])
        except DataError as error:
            notice(f"CIFAR-10 is not on this machine and cannot be fetched ({error}): using the synthetic set instead.")
            made_up = SyntheticCIFAR10(train=True, transforms=transforms)
            return made_up, SyntheticCIFAR10(train=False, transforms=test_transforms), "synthetic"
    train = CIFAR10Dataset(folder, train=True, transforms=transforms)
    return train, CIFAR10Dataset(folder, train=False, transforms=test_transforms), f"CIFAR-10 in {folder}"


def download_cifar10(folder: str | os.PathLike[str]) -> Path:
    """Downloads CIFAR-10 (163 MiB) into `folder`, verifies and unpacks it; returns the path of `cifar-10-batches-py`.

    An archive that already exists is verified, unpacked and kept.
    """
    folder = Path(folder)
    with locked(folder):
        if (found := find_cifar10(folder)) is not None:
            return found  # another process has fetched it
        was_there = exists(folder / ARCHIVE)
        archive = download(URL, folder / ARCHIVE, md5=MD5)
        files = (*_TRAIN_FILES, *_TEST_FILES, _META_FILE, "readme.html")
        unpacked = unpack_tar_gz(archive, folder / FOLDER, files)
        if not was_there:
            archive.unlink()
    return unpacked


def find_cifar10(folder: Path) -> Path | None:
    """The folder of CIFAR-10's files that `folder` contains or is. Raises DataError if this cannot be determined."""
    if not is_folder(folder):
        return None
    if is_folder(folder / FOLDER):
        return folder / FOLDER
    is_itself = folder.name == FOLDER or any(exists(folder / name) for name in (*_TRAIN_FILES, *_TEST_FILES))
    return folder if is_itself else None


def _read_files(folder: Path, names: Sequence[str]) -> tuple[NumPyArray, NumPyArray]:
    """Images (N, 3, 32, 32) and labels (N,) of the files in order."""
    count = _examples_per_file(folder)
    images = np.empty((len(names) * count, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(len(names) * count, np.int64)
    for i, name in enumerate(names):
        part = slice(i * count, (i + 1) * count)
        images[part], labels[part] = _read_file(folder / name, count)
    return images, labels


def _examples_per_file(folder: Path) -> int:
    """The number from `batches.meta`, at most the published 10,000; the other files are checked against it."""
    path = folder / _META_FILE
    count = _read_dict(path).get("num_cases_per_batch") if exists(path) else _EXAMPLES_PER_FILE
    if type(count) is not int or not 1 <= count <= _EXAMPLES_PER_FILE:
        raise DataError(f"{path}: num_cases_per_batch is no number in 1..{_EXAMPLES_PER_FILE}")
    return count


def _read_file(path: Path, count: int) -> tuple[NumPyArray, NumPyArray]:
    """Images (count, 3, 32, 32) uint8 and labels (count,) of one file."""
    contents = _read_dict(path)
    for key in ("data", "labels"):
        if key not in contents:
            raise DataError(f"{path}: has no {key!r}")
    data, labels = contents["data"], contents["labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (count, _IMAGE_SIZE):
        met = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}: expected 'data' to be uint8 {(count, _IMAGE_SIZE)}, met {met}")
    if not isinstance(labels, list) or len(labels) != count:
        met = f"one of {len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise DataError(f"{path}: expected 'labels' to be a list of {count}, met {met}")
    for i, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < NUM_CLASSES:
            met = str(label) if isinstance(label, int) else type(label).__name__
            raise DataError(f"{path}: label {i} is {met}, expected an integer in 0..{NUM_CLASSES - 1}")
    return data.reshape(count, *IMAGE_SHAPE), np.array(labels, np.int64)


def _read_dict(path: Path) -> dict[str, Any]:
    contents = load(path)
    if not isinstance(contents, dict):
        raise DataError(f"{path}: expected a dict, met {type(contents).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in contents.items()}
