from __future__ import annotations

import numpy as np
import pytest

from needle.data import Compose, NDArrayDataset, Normalize, RandomCrop, RandomFlipHorizontal, Transform
from needle.data.transforms import apply_to_batch, batch_method, generator, use_generator
from needle.errors import ShapeError

HWC, CHW = (28, 20, 1), (3, 32, 30)


def random_images(*shape):
    return np.random.RandomState(1).rand(*shape).astype(np.float32)


def course_flip(image, p=0.5):
    """The course's RandomFlipHorizontal, of (H, W, C)."""
    return image[:, ::-1, :] if np.random.rand() < p else image


def course_crop(image, padding=3):
    """The course's RandomCrop, of (H, W, C), pixel by pixel."""
    shift_x, shift_y = np.random.randint(low=-padding, high=padding + 1, size=2)
    out = np.zeros_like(image)
    height, width, _ = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i + shift_x < height and 0 <= j + shift_y < width:
                out[i, j] = image[i + shift_x, j + shift_y]
    return out


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "transform, course",
    [(RandomFlipHorizontal(0.4), lambda x: course_flip(x, 0.4)), (RandomCrop(12), lambda x: course_crop(x, 12))],
)
def test_of_one_image_draws_and_does_what_the_course_does(transform, course, seed):
    image = random_images(*HWC)
    np.random.seed(seed)
    expected = course(image)
    after = np.random.rand()
    np.random.seed(seed)
    np.testing.assert_array_equal(transform(image), expected)
    assert np.random.rand() == after


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "transform, course", [(RandomFlipHorizontal(), course_flip), (RandomCrop(4), lambda x: course_crop(x, 4))]
)
def test_channels_first_images_are_moved_along_the_same_axes(transform, course, seed):
    image = random_images(*CHW)
    np.random.seed(seed)
    expected = course(image.transpose(1, 2, 0)).transpose(2, 0, 1)
    np.random.seed(seed)
    np.testing.assert_array_equal(transform(image), expected)


@pytest.mark.parametrize("shape", [HWC, CHW])
@pytest.mark.parametrize("transform", [RandomFlipHorizontal(0.3), RandomCrop(5), RandomCrop(0)])
def test_a_batch_draws_what_its_images_draw_one_by_one(transform, shape):
    images = random_images(40, *shape)
    np.random.seed(3)
    one_by_one = np.stack([transform(image) for image in images])
    np.random.seed(3)
    np.testing.assert_array_equal(transform.batch(images), one_by_one)


def test_transforms_leave_their_input_alone():
    images = random_images(16, *CHW)
    before = images.copy()
    for transform in (RandomFlipHorizontal(1.0), RandomCrop(4), Normalize(0.5, 0.2)):
        transform.batch(images)
        transform(images[0])
    np.testing.assert_array_equal(images, before)


def test_frequencies_of_flips_and_shifts():
    """2,000 images of which each pixel has its own value: which flips and shifts were drawn can be read off."""
    image = np.arange(1, 37, dtype=np.float32).reshape(1, 6, 6)
    np.random.seed(0)
    flipped = RandomFlipHorizontal(0.25, layout="CHW").batch(np.repeat(image[None], 2000, 0))[:, 0, 0, 0] == 6
    assert abs(flipped.mean() - 0.25) < 0.04
    corners = RandomCrop(1, layout="CHW").batch(np.repeat(image[None], 2000, 0))[:, 0, 1, 1]
    values, counts = np.unique(corners, return_counts=True)
    assert values.tolist() == [1, 2, 3, 7, 8, 9, 13, 14, 15]  # the pixel at (1, 1) and its eight neighbours
    assert np.abs(counts / 2000 - 1 / 9).max() < 0.03


@pytest.mark.parametrize("shape", [(4, 5, 3), (3, 5, 4)])
def test_layout_overrules_the_guess(shape):
    image = random_images(*shape)
    np.testing.assert_array_equal(RandomFlipHorizontal(1, layout="HWC")(image), image[:, ::-1])
    np.testing.assert_array_equal(RandomFlipHorizontal(1, layout="CHW")(image), image[:, :, ::-1])


@pytest.mark.parametrize(
    "shape, width_axis", [((1, 28, 28), 2), ((28, 28, 1), 1), ((3, 5, 7), 2), ((3, 5, 3), 1), ((9, 9, 9), 1)]
)
def test_guess_of_the_layout(shape, width_axis):
    image = random_images(*shape)
    np.testing.assert_array_equal(RandomFlipHorizontal(1)(image), np.flip(image, width_axis))


def test_normalize():
    images = random_images(5, *CHW)
    mean, std = np.array([0.1, 0.5, 0.9]), np.array([0.2, 1.0, 3.0])
    expected = (images.transpose(0, 2, 3, 1) - mean) / std
    normalized = Normalize(mean, std).batch(images)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(Normalize(mean, std)(images[2]), normalized[2])
    np.testing.assert_allclose(Normalize(0.5, 0.25)(images[0]), (images[0] - 0.5) / 0.25, rtol=1e-5)
    with pytest.raises(ShapeError, match="mean has 2 values, but the images have 3 channels"):
        Normalize([0, 1], 1)(images[0])


def test_compose_applies_in_order_and_to_batches():
    compose = Compose([lambda image: image + 1, Normalize(0, 0.5), Compose([lambda image: image - 3])])
    images = random_images(3, *HWC)
    np.testing.assert_allclose(compose(images[0]), (images[0] + 1) * 2 - 3, rtol=1e-6)
    np.testing.assert_allclose(compose.batch(images), (images + 1) * 2 - 3, rtol=1e-6)


def test_a_transform_without_batch_is_applied_image_by_image():
    met = []

    def brighten(image):
        met.append(image.shape)
        return image * 2

    images = random_images(3, *HWC)
    np.testing.assert_array_equal(apply_to_batch(brighten, images), images * 2)
    assert met == [HWC] * 3


def test_a_subclass_that_redefines_the_image_is_not_bypassed():
    class Course(Transform):
        def __call__(self, image):
            return -image

    class Half(RandomCrop):
        def __call__(self, image):
            return image / 2

    images = random_images(3, *HWC)
    np.testing.assert_array_equal(apply_to_batch(Course(), images), -images)
    np.testing.assert_array_equal(apply_to_batch(Half(), images), images / 2)
    assert batch_method(RandomCrop(), "batch", ("__call__",)) is not None
    assert batch_method(NDArrayDataset([1]), "get_batch", ("__getitem__",)) is not None
    assert batch_method([1], "get_batch", ("__getitem__",)) is None


def test_generator_is_numpy_s_own_unless_another_is_in_use():
    image = random_images(*HWC)
    assert generator() is np.random
    np.random.seed(9)
    expected = RandomCrop()(image)
    with use_generator(lambda: np.random.RandomState(9)):
        np.random.seed(1)
        state = np.random.get_state()[1].copy()
        np.testing.assert_array_equal(RandomCrop()(image), expected)
        np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert generator() is np.random


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandomFlipHorizontal(1.5), "p of 1.5: expected a number of 0 to 1"),
        (lambda: RandomCrop(-1), "padding of -1: expected a whole number of 0 or more"),
        (lambda: RandomCrop(2.5), "padding of 2.5: expected a whole number of 0 or more"),
        (lambda: RandomCrop(2, layout="NCHW"), "layout 'NCHW': expected None, 'HWC' or 'CHW'"),
        (lambda: Normalize(0, 0), "std must be above 0, met 0"),
        (lambda: Normalize(np.zeros((3, 1)), 1), r"one number per channel, met shapes \(3, 1\) and \(\)"),
        (lambda: RandomCrop(1)(np.zeros((4, 4))), r"shape \(H, W, C\) or \(C, H, W\), met \(4, 4\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
