from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from needle.backend_ndarray import cpu_numpy
from needle.data import DataLoader, MNISTDataset, RandomCrop, RandomFlipHorizontal
from needle.errors import DataError
from tests.data.published_layout import idx_bytes, write_mnist


def test_items(tmp_path):
    image_file, label_file, images, labels = write_mnist(tmp_path)
    dataset = MNISTDataset(str(image_file), str(label_file))
    assert len(dataset) == 12
    image, label = dataset[5]
    assert image.shape == (28, 28, 1) and image.dtype == np.float32 and type(label) is int
    np.testing.assert_array_equal(image[..., 0], (images[5] / 255.0).astype(np.float32))
    assert label == labels[5] and dataset.y.dtype == np.int64


def test_slices_have_a_leading_axis(tmp_path):
    """As the course's tests compare a slice with a batch."""
    dataset = MNISTDataset(*write_mnist(tmp_path)[:2])
    for i, (x, y) in enumerate(DataLoader(dataset, batch_size=5, device=cpu_numpy())):
        truth_x, truth_y = dataset[i * 5 : (i + 1) * 5]
        np.testing.assert_array_equal(x.numpy(), truth_x)
        np.testing.assert_array_equal(y.numpy(), truth_y)
    assert x.shape == (2, 28, 28, 1)


def test_transforms_draw_in_the_order_of_the_course(tmp_path):
    image_file, label_file, images, _ = write_mnist(tmp_path)
    dataset = MNISTDataset(image_file, label_file, transforms=[RandomCrop(28), RandomFlipHorizontal(0.4)])
    np.random.seed(0)
    met = [dataset[i][0] for i in (1, 7, 3)]
    np.random.seed(0)
    for image, i in zip(met, (1, 7, 3)):
        shift_x, shift_y = np.random.randint(low=-28, high=29, size=2)
        padded = np.pad(images[i] / np.float32(255), 28)
        expected = padded[28 + shift_x : 56 + shift_x, 28 + shift_y : 56 + shift_y]
        expected = expected[:, ::-1] if np.random.rand() < 0.4 else expected
        np.testing.assert_array_equal(image[..., 0], expected)


def test_unpacked_files(tmp_path):
    image_file, label_file, images, _ = write_mnist(tmp_path)
    for path in (image_file, label_file):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    dataset = MNISTDataset(image_file.with_suffix(""), label_file.with_suffix(""))
    np.testing.assert_array_equal(dataset.X[..., 0], images)


def write_damaged(path, data, compress=True):
    path.write_bytes(gzip.compress(data) if compress else data)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "truncated: an idx header of 16 bytes expected, met 0"),
        (struct.pack(">3I", 0x803, 12, 28), "truncated: an idx header of 16 bytes expected, met 12"),
        (struct.pack(">4I", 0x801, 12, 28, 28) + bytes(9408), "magic number 0x00000801, expected 0x00000803"),
        (struct.pack("<4I", 0x803, 12, 28, 28) + bytes(9408), "magic number 0x03080000, expected 0x00000803"),
        (
            struct.pack(">4I", 0x803, 12, 28, 28) + bytes(9407),
            r"\(12, 28, 28\) needs 9408 bytes of data, met only 9407",
        ),
        (struct.pack(">4I", 0x803, 12, 28, 28) + bytes(9409), r"\(12, 28, 28\) needs 9408 bytes of data, met more"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), r"larger than 1073741824 bytes"),
        (idx_bytes(np.zeros((11, 28, 28), np.uint8)), "has 11 images, but .* has 12 labels"),
    ],
)
def test_altered_images(tmp_path, data, message):
    image_file, label_file, _, _ = write_mnist(tmp_path)
    write_damaged(image_file, data)
    with pytest.raises(DataError, match=message) as raised:
        MNISTDataset(image_file, label_file)
    assert str(image_file) in str(raised.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data[:30],
        lambda data: data[:40] + b"\xff" * 50 + data[90:],
        lambda data: data[:-8] + bytes(4) + data[-4:],
    ],
)
def test_damaged_compression(tmp_path, damage):
    image_file, label_file, _, _ = write_mnist(tmp_path)
    image_file.write_bytes(damage(image_file.read_bytes()))
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz: truncated or damaged: "):
        MNISTDataset(image_file, label_file)


def test_files_in_the_wrong_order_and_missing_files(tmp_path):
    image_file, label_file, _, _ = write_mnist(tmp_path)
    with pytest.raises(DataError, match="train-labels-idx1-ubyte.gz: magic number 0x00000801, expected 0x00000803"):
        MNISTDataset(label_file, image_file)
    with pytest.raises(DataError, match="nowhere.gz: No such file or directory"):
        MNISTDataset(tmp_path / "nowhere.gz", label_file)
    with pytest.raises(DataError, match=f"{tmp_path}: Is a directory"):
        MNISTDataset(image_file, tmp_path)
    with pytest.raises(DataError, match="/proc/self/mem: Input/output error"):
        MNISTDataset("/proc/self/mem", label_file)
