from __future__ import annotations

import time

import numpy as np
import pytest

from needle.data import SyntheticCIFAR10


def test_shapes_dtypes_and_labels_are_those_of_cifar10():
    train, test = SyntheticCIFAR10(), SyntheticCIFAR10(train=False)
    assert (len(train), len(test)) == (10000, 2000)
    assert train.X.shape == (10000, 3, 32, 32) and train.X.dtype == np.uint8 and train.y.dtype == np.int64
    assert np.bincount(train.y).tolist() == [1000] * 10
    image, label = train[3]
    assert image.shape == (3, 32, 32) and image.dtype == np.float32 and type(label) is int
    assert train.X.std() > 30 and 100 < train.X.mean() < 155


def test_the_same_arguments_give_the_same_images():
    np.testing.assert_array_equal(SyntheticCIFAR10(300).X, SyntheticCIFAR10(300).X)
    assert np.any(SyntheticCIFAR10(300).X != SyntheticCIFAR10(300, train=False).X)
    assert np.any(SyntheticCIFAR10(300).X != SyntheticCIFAR10(300, seed=1).X)


def test_making_it_draws_nothing_from_the_global_generator():
    np.random.seed(5)
    SyntheticCIFAR10(100)
    assert np.random.rand() == np.random.RandomState(5).rand()


def spectrum(dataset):
    """What tells the classes apart: the spectrum of the brightness (N, 32, 10), the same wherever things are."""
    grey = dataset.X.astype(np.float32).mean(axis=1)
    return np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True)))[:, :, :10]


def folded_spectrum(dataset):
    """The same with stripes to the left and to the right added up (N, 8, 10)."""
    rows, full = np.arange(1, 8), spectrum(dataset)
    return np.concatenate([full[:, :1], full[:, rows] + full[:, -rows]], axis=1)


def nearest_mean_accuracy(train, test, of):
    x, train_x = (of(dataset).reshape(len(dataset), -1) for dataset in (test, train))
    means = np.stack([train_x[train.y == c].mean(axis=0) for c in range(10)])
    distances = ((x[:, None] - means) ** 2).sum(axis=2)
    return (distances.argmin(axis=1) == test.y).mean()


def test_the_classes_can_be_learned_but_not_from_single_pixels():
    train, test = SyntheticCIFAR10(3000), SyntheticCIFAR10(1000, train=False)
    assert nearest_mean_accuracy(train, test, folded_spectrum) > 0.6
    assert nearest_mean_accuracy(train, test, lambda dataset: dataset.X.astype(np.float32)) < 0.35


def test_a_flipped_image_is_of_the_same_class():
    train, test = SyntheticCIFAR10(3000), SyntheticCIFAR10(1000, train=False)
    straight = nearest_mean_accuracy(train, test, spectrum)
    test.X = test.X[..., ::-1]
    assert abs(nearest_mean_accuracy(train, test, spectrum) - straight) < 0.05


def test_fifty_thousand_images_take_seconds_not_minutes():
    start = time.perf_counter()
    SyntheticCIFAR10(50000)
    assert time.perf_counter() - start < 20


def test_bad_number():
    with pytest.raises(ValueError, match="num_examples of 0: expected a whole number of 1 or more"):
        SyntheticCIFAR10(0)
