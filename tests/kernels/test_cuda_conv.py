"""Convolutions on the GPU that take more than one tile or slice, with channels read in packs and one by one."""

import numpy as np
import pytest

import needle as ndl
from needle import backend_ndarray as nd
from needle.backend_ndarray.conv import conv2d, conv2d_backward_data, conv2d_backward_weight

pytestmark = pytest.mark.skipif(not ndl.cuda().enabled(), reason=ndl.cuda().reason)


def results(device, x, weight, grad_out, stride, padding):
    x_there, weight_there, grad_there = (nd.array(values, "float32", device) for values in (x, weight, grad_out))
    return [
        conv2d(x_there, weight_there, stride, padding).numpy(),
        conv2d_backward_data(grad_there, weight_there, x.shape, stride, padding).numpy(),
        conv2d_backward_weight(x_there, grad_there, weight.shape, stride, padding).numpy(),
    ]


@pytest.mark.parametrize("channels, filters", [(8, 132), (3, 7), (1, 1)])
@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (3, 2, 1), (1, 1, 0), (2, 3, 2)])
def test_results_are_those_of_the_reference(channels, filters, kernel, stride, padding):
    x = np.random.randn(3, 14, 15, channels).astype(np.float32)
    weight = np.random.randn(kernel, kernel, channels, filters).astype(np.float32)
    height, width = ((extent + 2 * padding - kernel) // stride + 1 for extent in (14, 15))
    grad_out = np.random.randn(3, height, width, filters).astype(np.float32)
    arguments = x, weight, grad_out, stride, padding
    for on_gpu, expected in zip(results(ndl.cuda(), *arguments), results(ndl.cpu_numpy(), *arguments)):
        np.testing.assert_allclose(on_gpu, expected, rtol=1e-4, atol=1e-4)
