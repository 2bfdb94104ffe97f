from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from needle.autograd import Tensor
from needle.backend_ndarray import array, cpu, cpu_numpy
from needle.data import (
    Compose,
    Dataset,
    ImageDataset,
    NDArrayDataset,
    Normalize,
    RandomCrop,
    RandomFlipHorizontal,
)
from needle.errors import DTypeError, ShapeError


class Squares(Dataset):
    """A data set as the course has its students write one."""

    def __init__(self, transforms=None):
        super().__init__(transforms)

    def __getitem__(self, index):
        return self.apply_transforms(np.full((2, 2, 1), index * index, np.float32)), index

    def __len__(self):
        return 10


def image_dataset(transforms=None, shape=(3, 8, 8)):
    random = np.random.RandomState(0)
    return ImageDataset(random.randint(0, 256, (30, *shape)).astype(np.uint8), random.randint(0, 10, 30), transforms)


def test_transforms_are_applied_in_turn():
    assert Squares()[3][0].max() == 9
    assert Squares([lambda x: x + 1, lambda x: x * 2])[3][0].max() == 20
    assert Squares(Compose([lambda x: x + 1, lambda x: x * 2]))[3][0].max() == 20


def test_the_base_class_says_what_a_subclass_lacks():
    class Nothing(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no __len__"):
        len(Nothing())
    with pytest.raises(NotImplementedError, match="Nothing defines no __getitem__"):
        Nothing()[0]


def test_ndarray_dataset():
    x, y = np.random.RandomState(0).rand(7, 2, 3), np.arange(7)
    dataset = NDArrayDataset(x, y)
    assert len(dataset) == 7
    np.testing.assert_array_equal(dataset[2][0], x[2])
    assert dataset[2][1] == 2
    for index in (slice(2, 5), np.array([4, 0, 4])):
        np.testing.assert_array_equal(dataset[index][0], x[index])
        np.testing.assert_array_equal(dataset.get_batch(index)[1], y[index])


def test_ndarray_dataset_of_tensors_and_lists():
    x = Tensor(np.ones((3, 2)), device=cpu_numpy())
    dataset = NDArrayDataset(x, [5, 6, 7])
    np.testing.assert_array_equal(dataset[1][0], [1, 1])
    assert dataset[1][1] == 6


def test_ndarray_dataset_errors():
    with pytest.raises(ShapeError, match=r"expected arrays of the same length, met shapes \[\(3, 2\), \(4,\)\]"):
        NDArrayDataset(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match=r"met shapes \[\(\)\]"):
        NDArrayDataset(np.float32(3))
    with pytest.raises(ValueError, match="at least one array"):
        NDArrayDataset()


def test_image_dataset_hands_out_floats_in_0_to_1():
    dataset = image_dataset()
    image, label = dataset[4]
    assert image.dtype == np.float32 and image.shape == (3, 8, 8) and type(label) is int
    np.testing.assert_array_equal(image, (dataset.X[4] / 255.0).astype(np.float32))
    assert label == dataset.y[4] and dataset.y.dtype == np.int64


def test_every_byte_becomes_the_nearest_float():
    dataset = ImageDataset(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1), np.zeros(256, int))
    np.testing.assert_array_equal(dataset[:][0].ravel(), (np.arange(256) / 255.0).astype(np.float32))


@pytest.mark.parametrize("index", [slice(3, 20, 2), np.array([5, 5, 0, 29, -1])])
def test_slices_and_index_arrays_of_image_dataset(index):
    dataset = image_dataset()
    images, labels = dataset[index]
    chosen = np.arange(30)[index]
    np.testing.assert_array_equal(images, np.stack([dataset[i][0] for i in chosen]))
    np.testing.assert_array_equal(labels, [dataset[i][1] for i in chosen])


@pytest.mark.parametrize("transform", [RandomCrop(2), RandomFlipHorizontal(), lambda image: image + np.random.rand()])
@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 1)])
def test_a_batch_is_its_items_with_the_same_draws(transform, shape):
    dataset = image_dataset([transform], shape)
    np.random.seed(5)
    items = [dataset[i] for i in range(25)]
    np.random.seed(5)
    images, labels = dataset.get_batch(np.arange(25))
    np.testing.assert_array_equal(images, np.stack([image for image, _ in items]))
    assert labels.tolist() == [label for _, label in items]


@pytest.mark.parametrize(
    "transforms, on_device",
    [
        ([], True),
        ([Normalize(0.5, 0.2)], True),
        ([RandomFlipHorizontal(), RandomCrop(3), Normalize((0.3, 0.4, 0.5), 0.2)], True),
        ([RandomCrop(3), RandomFlipHorizontal()], True),
        ([RandomFlipHorizontal(), RandomCrop(20), RandomFlipHorizontal(1.0)], True),
        ([RandomCrop(3), RandomCrop(3)], False),  # what the first pushed out does not come back
        ([Normalize(0.5, 0.2), RandomCrop(3)], False),  # the zeros that it shifts in are not black
        ([RandomFlipHorizontal(layout="CHW"), RandomCrop(3, layout="HWC")], False),
        ([lambda image: image * 2], False),
    ],
)
@pytest.mark.parametrize("shape", [(3, 8, 7), (8, 7, 3)])
@pytest.mark.parametrize("device", [cpu(), cpu_numpy()], ids=repr)
def test_a_device_makes_the_same_images_of_the_bytes(transforms, on_device, shape, device):
    dataset = image_dataset(transforms, shape)
    np.random.seed(5)
    expected = dataset.get_batch(np.arange(25))
    np.random.seed(5)
    raw = dataset.get_raw_batch(np.arange(25))
    assert (raw is not None) == on_device
    if not on_device:
        return
    for made, field in zip(dataset.finish_batch([array(field, device=device) for field in raw]), expected):
        np.testing.assert_array_equal(made.numpy(), field)


@pytest.mark.parametrize("is_writeable", [True, False])
@pytest.mark.parametrize("device", [cpu(), cpu_numpy()], ids=repr)
def test_the_device_s_images_are_those_of_the_data_set(device, is_writeable):
    """Also after a new X, on another device, and in a copy of the data set."""
    dataset = image_dataset()
    other = dataset.X[::-1]  # not in row-major order

    def check(dataset, device):
        dataset.X.flags.writeable = is_writeable
        fields = [array(field, device=device) for field in dataset.get_raw_batch(np.array([7, 2]))]
        made, expected = dataset.finish_batch(fields)[0], dataset.get_batch(np.array([7, 2]))[0]
        assert made.device is device
        np.testing.assert_array_equal(made.numpy(), expected)

    check(dataset, device)
    check(dataset, cpu())
    dataset.X = other
    check(dataset, device)
    for copied in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        copied.X = copied.X // 2
        check(copied, device)
        check(dataset, device)


def test_a_large_data_set_is_not_copied_to_the_device(monkeypatch):
    dataset = image_dataset([Normalize(0.5, 0.2)])
    monkeypatch.setattr("needle.data.dataset._RESIDENT_BYTES", dataset.X.nbytes)
    assert dataset.get_raw_batch(np.arange(2)) is not None
    monkeypatch.setattr("needle.data.dataset._RESIDENT_BYTES", dataset.X.nbytes - 1)
    assert dataset.get_raw_batch(np.arange(2)) is None


def test_index_out_of_range():
    with pytest.raises(IndexError):
        image_dataset()[30]
    assert len(list(image_dataset())) == 30


def test_image_dataset_errors():
    with pytest.raises(DTypeError, match="expected images of uint8, met float32"):
        ImageDataset(np.zeros((2, 3, 4, 4), np.float32), np.zeros(2, int))
    with pytest.raises(ShapeError, match=r"images \(2, 3, 4, 4\) and labels \(3,\) do not match: expected .* \(2,\)"):
        ImageDataset(np.zeros((2, 3, 4, 4), np.uint8), np.zeros(3, int))


def test_labels_have_to_be_whole_numbers():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    assert ImageDataset(images, np.array([0.0, 1.0, 2.0])).y.tolist() == [0, 1, 2]
    for labels in ([0.9, 1, 2], [np.nan, 1, 2], np.array([2**63, 0, 1], np.uint64)):
        with pytest.raises(ShapeError, match="ImageDataset: label .*: expected whole numbers"):
            ImageDataset(images, np.array(labels))
