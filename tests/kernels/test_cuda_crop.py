"""Windows of images on the GPU: more pixels than a grid has threads, axes in any order, and wrong images."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.crop import crop_images
from needle.errors import ShapeError

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)


def cropped(device, images, windows, values, order):
    there = nd.array(images.transpose(order).copy(), "uint8", device).permute(*np.argsort(order).tolist())
    return crop_images(there, nd.array(windows, "int32", device), nd.array(values, "float32", device)).numpy()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (1, 2, 3, 0)], ids=["NHWC", "NCHW", "HWCN"])
def test_large_images_are_those_of_the_cpu(order):
    images = np.random.randint(0, 256, (3, 90, 131, 4), np.uint8)
    windows = [[2, 0, 0, 0], [0, 7, -9, 1], [2, -100, 3, 0], [1, 5, 130, 1], [1, 2**31 - 1, -(2**31), 1]]
    values = np.random.randn(4, 256).astype(np.float32)
    on_cpu, on_gpu = (cropped(d, images, windows, values, order) for d in (ndl.cpu(), ndl.cuda()))
    np.testing.assert_array_equal(on_gpu, on_cpu)


def test_a_wrong_image_is_named_at_the_next_wait():
    images, values = np.ones((3, 2, 2, 1), np.uint8), np.ones((1, 256), np.float32)
    with pytest.raises(ShapeError, match="crop_images: image 3 at position 1, expected 0 to 2; the call was"):
        cropped(ndl.cuda(), images, [[0, 0, 0, 0], [3, 0, 0, 0], [-1, 0, 0, 0]], values, (0, 1, 2, 3))
