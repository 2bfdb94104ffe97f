from __future__ import annotations

import numpy as np
import pytest

from needle.backend_ndarray import cpu_numpy
from needle.data import CIFAR10Dataset, DataLoader, RandomCrop, RandomFlipHorizontal
from needle.errors import DataError
from tests.data.published_layout import Python2Pickler, write_cifar10

TRANSFORMS = [RandomFlipHorizontal(), RandomCrop(padding=4)]


@pytest.fixture
def base(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-py")
    return tmp_path


@pytest.fixture
def rewrite(base):
    """Write one of the files anew, with some of its contents replaced, or left out where the new value is None."""

    def rewrite(name, **replaced):
        path = base / "cifar-10-batches-py" / name
        contents = {
            b"labels": [0] * 20,
            b"data": np.zeros((20, 3072), np.uint8),
            **{key.encode(): value for key, value in replaced.items()},
        }
        contents = {key: value for key, value in contents.items() if value is not None}
        path.write_bytes(Python2Pickler().dumps(contents))
        return path

    return rewrite


def test_items_are_the_files_images_in_order(tmp_path):
    contents = write_cifar10(tmp_path / "cifar-10-batches-py")
    train, test = CIFAR10Dataset(tmp_path, train=True), CIFAR10Dataset(str(tmp_path), train=False)
    assert (len(train), len(test)) == (100, 20)
    places = [(train, 0, "data_batch_1", 0), (train, 59, "data_batch_3", 19), (test, 7, "test_batch", 7)]
    for dataset, position, name, row in places:
        image, label = dataset[position]
        assert image.dtype == np.float32 and type(label) is int
        # A row is the red, the green, the blue plane, each row by row.
        expected = contents[name][b"data"][row].reshape(3, 32, 32) / 255.0
        np.testing.assert_array_equal(image, expected.astype(np.float32))
        assert label == contents[name][b"labels"][row]
    assert train.X.shape == (100, 3, 32, 32) and train.X.dtype == np.uint8
    assert train.y.shape == (100,) and train.y.dtype == np.int64


def test_base_folder_may_be_the_folder_itself(base):
    inner = CIFAR10Dataset(base / "cifar-10-batches-py", train=False)
    np.testing.assert_array_equal(inner.X, CIFAR10Dataset(base, train=False).X)


def test_p_changes_no_image(base):
    plain, with_p = CIFAR10Dataset(base, True), CIFAR10Dataset(base, True, p=1.0)
    assert plain.p == 0.5 and with_p.p == 1.0
    np.testing.assert_array_equal(plain[3][0], with_p[3][0])


def test_batches_of_augmented_images(base):
    dataset = CIFAR10Dataset(base, train=True, transforms=TRANSFORMS)
    plain = CIFAR10Dataset(base, train=True)
    seen = set()
    for x, y in DataLoader(dataset, batch_size=32, device=cpu_numpy()):
        assert x.shape[1:] == (3, 32, 32) and x.dtype == "float32" and y.dtype == "int64"
        for image, label in zip(x.numpy(), y.numpy()):
            i = len(seen)
            seen.add(i)
            assert label == plain.y[i]
            padded = np.pad(plain[i][0], ((0, 0), (4, 4), (4, 4)))
            candidates = [
                window[..., ::step]
                for a in range(9)
                for b in range(9)
                for step in (1, -1)
                for window in [padded[:, a : a + 32, 8 - b : 40 - b] if step < 0 else padded[:, a : a + 32, b : b + 32]]
            ]
            assert any(np.array_equal(image, candidate) for candidate in candidates)
    assert len(seen) == 100


def test_the_published_number_of_images_is_expected_where_batches_meta_is_missing(base):
    (base / "cifar-10-batches-py" / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"data_batch_1: expected 'data' .* \(10000, 3072\), met uint8 \(20, 3072\)"):
        CIFAR10Dataset(base, train=True)


@pytest.mark.parametrize(
    "replaced, message",
    [
        ({"data": None}, "has no 'data'"),
        ({"labels": None}, "has no 'labels'"),
        ({"data": np.zeros((19, 3072), np.uint8)}, r"'data' to be uint8 \(20, 3072\), met uint8 \(19, 3072\)"),
        ({"data": np.zeros((20, 3071), np.uint8)}, r"met uint8 \(20, 3071\)"),
        ({"data": np.zeros((20, 3072), np.int8)}, r"met int8 \(20, 3072\)"),
        ({"data": b"pixels"}, r"met bytes"),
        ({"labels": [0] * 19}, "'labels' to be a list of 20, met one of 19"),
        ({"labels": 7}, "'labels' to be a list of 20, met int"),
        ({"labels": [0] * 19 + [10]}, r"label 19 is 10, expected an integer in 0..9"),
        ({"labels": [-1] + [0] * 19}, r"label 0 is -1, expected an integer in 0..9"),
        ({"labels": [0, b"cat"] + [0] * 18}, r"label 1 is bytes, expected an integer in 0..9"),
    ],
)
def test_altered_contents(base, rewrite, replaced, message):
    path = rewrite("data_batch_2", **replaced)
    with pytest.raises(DataError, match=message) as raised:
        CIFAR10Dataset(base, train=True)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(CIFAR10Dataset(base, train=False)) == 20


@pytest.mark.parametrize("count", [0, -1, 10001, b"20", [20]])
def test_altered_batches_meta(base, count):
    path = base / "cifar-10-batches-py" / "batches.meta"
    path.write_bytes(Python2Pickler().dumps({b"num_cases_per_batch": count}))
    with pytest.raises(DataError, match="batches.meta: num_cases_per_batch is no number in 1..10000"):
        CIFAR10Dataset(base, train=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: b"<html>",
        lambda data: data.replace(b"ndarray", b"ndarrey"),
    ],
)
def test_truncated_and_altered_files(base, damage):
    path = base / "cifar-10-batches-py" / "data_batch_5"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="data_batch_5: "):
        CIFAR10Dataset(base, train=True)


def test_contents_that_are_no_dict(base):
    (base / "cifar-10-batches-py" / "test_batch").write_bytes(Python2Pickler().dumps([1, 2]))
    with pytest.raises(DataError, match="test_batch: expected a dict, met list"):
        CIFAR10Dataset(base, train=False)


def test_missing_files_and_folders(base, tmp_path_factory):
    (base / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: No such file or directory"):
        CIFAR10Dataset(base, train=True)
    with pytest.raises(DataError, match="no folder cifar-10-batches-py in it, .*; download=True fetches it"):
        CIFAR10Dataset(tmp_path_factory.mktemp("empty"), train=True)
