from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.errors import ShapeError


def test_initial_weight_is_standard_normal(device):
    np.random.seed(2)
    layer = nn.Embedding(7, 3, device=device, dtype="float64")
    np.random.seed(2)
    np.testing.assert_array_equal(layer.weight.numpy(), np.random.randn(7, 3))
    assert (layer.num_embeddings, layer.embedding_dim) == (7, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index_dtype", ["int32", "int64", "float32"])
def test_rows_and_their_gradients(dtype, index_dtype, device):
    layer = nn.Embedding(5, 2, device=device, dtype=dtype)
    indices = np.array([[4, 0, 4], [1, 4, 0]])
    out = layer(Tensor(indices, device=device, dtype=index_dtype))
    np.testing.assert_array_equal(out.numpy(), layer.weight.numpy()[indices])
    assert out.shape == (2, 3, 2) and out.dtype == dtype
    grad = np.random.randn(2, 3, 2)
    out.backward(Tensor(grad, device=device, dtype=dtype))
    expected = np.zeros((5, 2))
    np.add.at(expected, indices, grad)
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_out_of_range(index, device):
    with pytest.raises(ShapeError, match=f"index {index}"):
        nn.Embedding(5, 2, device=device)(Tensor([0, index], device=device)).numpy()  # a GPU says so when it is read


def test_a_wrong_number_of_rows():
    with pytest.raises(ValueError, match="Embedding: num_embeddings of 0: expected a whole number of 1 or more"):
        nn.Embedding(0, 2)
