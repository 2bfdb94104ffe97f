from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.errors import ShapeError


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("label_dtype", ["int64", "int32", "uint8", "float32"])
def test_loss_and_gradient(dtype, tolerance, label_dtype, device):
    values, labels = np.random.randn(6, 4) * 3, np.array([0, 3, 1, 1, 2, 0])
    logits = Tensor(values, device=device, dtype=dtype)
    loss = nn.SoftmaxLoss()(logits, Tensor(labels, device=device, dtype=label_dtype))
    loss.backward()
    probabilities = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    expected = -np.log(probabilities[range(6), labels]).mean()
    assert loss.shape == () and loss.dtype == dtype
    np.testing.assert_allclose(loss.item(), expected, rtol=tolerance)
    np.testing.assert_allclose(
        logits.grad.numpy(), (probabilities - np.eye(4)[labels]) / 6, rtol=tolerance, atol=tolerance
    )


def test_large_logits_do_not_overflow(device):
    logits = Tensor([[1e4, 0.0], [-1e4, 0.0]], device=device)
    assert nn.SoftmaxLoss()(logits, Tensor([0, 0], device=device)).item() == 5000


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_out_of_range(label, device):
    with pytest.raises(ShapeError, match=f"{label}"):
        loss = nn.SoftmaxLoss()(Tensor(np.zeros((1, 4)), device=device), Tensor([label], device=device))
        loss.numpy()  # a GPU says so when it is read


def test_shapes_that_do_not_match(device):
    with pytest.raises(ShapeError, match=r"logits \(2, 4\) and labels \(3,\): expected \(N, classes\) and \(N,\)"):
        nn.SoftmaxLoss()(Tensor(np.zeros((2, 4)), device=device), Tensor([0, 1, 2], device=device))
