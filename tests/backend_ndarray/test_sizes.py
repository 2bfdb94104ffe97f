"""Sizes, strides and offsets that 64 bits do not hold, or whose products they do not: an error that says so, no wrapping."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle import ops
from needle.backend_ndarray import conv, cpu, pool
from needle.errors import OutOfMemoryError, ShapeError

HUGE = [2**31 + 1, 2**62, 2**63 - 1, 2**63, 2**64, 2**100]


@pytest.mark.parametrize("size", HUGE)
def test_steps_of_windows_that_are_absurd(size):
    x, weight = nd.ones((1, 4, 4, 2)), nd.ones((4, 4, 2, 3))
    grad = nd.ones((1, 1, 1, 3))
    for stride, padding in ((size, 0), (1, size), (size, size)):
        for call in (
            lambda: conv.conv2d(x, weight, stride, padding),
            lambda: conv.conv2d_backward_data(grad, weight, x.shape, stride, padding),
            lambda: conv.conv2d_backward_weight(x, grad, weight.shape, stride, padding),
            lambda: pool.max_pool2d(x, 4, stride, padding),
            lambda: pool.avg_pool2d(x, 4, stride, padding),
            lambda: pool.max_pool2d(x, size, stride, padding),
            lambda: ops.conv(ndl.Tensor(x), ndl.Tensor(weight), stride, padding),
        ):
            with pytest.raises(ShapeError, match=r"expected|does not fit"):
                call()


@pytest.mark.parametrize("size", [size for size in HUGE if size < 2**63])
def test_kernels_check_them_too(size):
    x, weight, out = nd.ones((1, 4, 4, 2)), nd.ones((4, 4, 2, 3)), nd.ones((1, 1, 1, 3))
    a, w, y = x.operand, weight.operand, out.operand
    for stride, padding in ((size, 0), (1, size)):
        for call in (
            lambda: cpu().kernels.conv2d(a, w, y, stride, padding),
            lambda: cpu().kernels.conv2d_backward_data(y, w, a, stride, padding),
            lambda: cpu().kernels.conv2d_backward_weight(a, y, w, stride, padding),
            lambda: cpu().kernels.avg_pool2d(a, nd.ones((1, 1, 1, 2)).operand, 4, stride, padding),
        ):
            with pytest.raises(ShapeError):
                call()


def test_the_largest_stride_is_like_one_window():
    rng = np.random.default_rng(0)
    x, weight = (nd.array(rng.standard_normal(shape, np.float32)) for shape in ((2, 5, 4, 3), (3, 3, 3, 4)))
    grad = nd.array(rng.standard_normal((2, 1, 1, 4), np.float32))
    for call in (
        lambda stride: conv.conv2d(x, weight, stride, 0),
        lambda stride: conv.conv2d_backward_data(grad, weight, x.shape, stride, 0),
        lambda stride: conv.conv2d_backward_weight(x, grad, weight.shape, stride, 0),
    ):
        np.testing.assert_allclose(call(2**31).numpy(), call(9).numpy(), rtol=1e-5, atol=1e-5)


def test_products_of_extents_that_do_not_fit():
    """2^28 channels on either side make a gradient of 2^59 bytes, of which 2^28 pixels want 32: 2^64 bytes."""
    images = nd.ones((1, 1, 1, 1), "float64").broadcast_to((1, 1, 2**28, 2**28))
    with pytest.raises(OutOfMemoryError):
        conv.conv2d_backward_weight(images, images, images.shape, 1, 0)
    with pytest.raises(OutOfMemoryError):
        cpu().kernels.conv2d_backward_weight(images.operand, images.operand, images.operand, 1, 0)


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**63,), (2**64, 2), (2**57,), (0, 2**63)])
def test_more_elements_than_an_array_may_have(shape):
    with pytest.raises((ShapeError, OutOfMemoryError)):
        nd.zeros((1,)).view(shape, (0,) * len(shape), 0).operand
    if 0 not in shape:
        with pytest.raises((ShapeError, OutOfMemoryError)):
            nd.empty(shape)


def test_batch_norm_without_channels():
    x, none = nd.zeros((200_000, 0)).operand, nd.zeros((0,)).operand
    cpu().kernels.batch_norm(x, none, none, [none, none], x, none, none, 0.1, 0.1, False)
    cpu().kernels.batch_norm_backward(x, x, none, none, none, none, x, none, none, 0.1, False)
