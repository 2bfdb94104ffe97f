"""Constants and random numbers against NumPy's global generator."""

from __future__ import annotations

import numpy as np
import pytest

from needle import init
from needle.autograd import Tensor


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_random_numbers_are_those_of_numpy(device, dtype):
    np.random.seed(3)
    uniform = init.rand(4, 5, low=-2, high=3, device=device, dtype=dtype)
    normal = init.randn(4, 5, mean=1, std=0.5, device=device, dtype=dtype)
    binary = init.randb(4, 5, p=0.3, device=device)
    np.random.seed(3)
    for tensor, expected in (
        (uniform, (np.random.rand(4, 5) * 5 - 2).astype(dtype)),
        (normal, (np.random.randn(4, 5) * 0.5 + 1).astype(dtype)),
        (binary, np.random.rand(4, 5) <= 0.3),
    ):
        np.testing.assert_array_equal(tensor.numpy(), expected)
        assert tensor.dtype == expected.dtype.name and tensor.device is device


def test_randb_in_another_dtype(device):
    np.random.seed(0)
    values = init.randb(1000, p=0.25, device=device, dtype="float32").numpy()
    assert values.dtype == np.float32 and set(values) == {0, 1}
    assert abs(values.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 1000)


def test_the_moments_of_random_numbers():
    np.random.seed(1)
    uniform, normal = init.rand(100, 100, low=2, high=6).numpy(), init.randn(100, 100, mean=-1, std=3).numpy()
    assert 2 <= uniform.min() < 2.01 and 5.99 < uniform.max() < 6
    assert abs(uniform.mean() - 4) < 0.05 and abs(uniform.var() - 16 / 12) < 0.05
    assert abs(normal.mean() + 1) < 0.15 and abs(normal.std() - 3) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_constants(device, dtype):
    options = {"device": device, "dtype": dtype}
    for tensor, value in (
        (init.ones(2, 3, **options), 1),
        (init.zeros(2, 3, **options), 0),
        (init.constant(2, 3, c=7, **options), 7),
    ):
        np.testing.assert_array_equal(tensor.numpy(), np.full((2, 3), value, dtype))
        assert tensor.dtype == dtype and tensor.device is device


def test_without_extents_there_is_one_element():
    assert init.ones().shape == init.rand().shape == init.randn().shape == ()


def test_like_another_tensor(device):
    a = Tensor(np.ones((2, 0, 3)), device=device, dtype="float64")
    for like in (init.zeros_like(a), init.ones_like(a)):
        assert (like.shape, like.dtype, like.device) == (a.shape, "float64", device)
        assert not like.requires_grad
    b = Tensor([2, 3], device=device)
    for like, value in ((init.zeros_like, 0), (init.ones_like, 1)):
        np.testing.assert_array_equal(like(b).numpy(), np.full(2, value))
        assert like(b).dtype == "int64" and like(b, dtype="float32", requires_grad=True).dtype == "float32"


def test_gradients_only_where_they_are_wanted():
    for make in (init.rand, init.randn, init.ones, init.zeros, init.constant):
        assert not make(2).requires_grad
        assert make(2, requires_grad=True).requires_grad


def test_one_hot(device):
    labels = Tensor([[1, 0], [3, 1]], device=device)
    encoded = init.one_hot(4, labels, dtype="float64")
    np.testing.assert_array_equal(encoded.numpy(), np.eye(4)[[[1, 0], [3, 1]]])
    assert encoded.dtype == "float64" and encoded.device is device
    np.testing.assert_array_equal(init.one_hot(3, [2, 0]).numpy(), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(init.one_hot(3, np.array(1), device=device).numpy(), [0, 1, 0])


@pytest.mark.parametrize("index", [-1, 3])
def test_one_hot_of_an_index_out_of_range(index):
    with pytest.raises(ValueError, match=f"one_hot: index {index}, expected 0 to 2"):
        init.one_hot(3, [1, index])
