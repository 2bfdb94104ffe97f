"""The lines that a user writes, with the types that they have: test_types.py checks this program by mypy, and runs it."""

from __future__ import annotations

import numpy as np
from typing_extensions import assert_type

import needle as ndl
from needle import nn
from needle.backend_ndarray.dtype import DType
from needle.data import DataLoader, NDArrayDataset
from needle.optim import SGD, CosineAnnealingLR
from needle.typing import NumPyArray


class Classifier(nn.Module):
    """A user's own module."""

    def __init__(self) -> None:
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1))
        self.last = nn.Linear(8, 3)

    def forward(self, x: ndl.Tensor, scale: float = 1.0) -> ndl.Tensor:
        return self.last(self.layers(x)) * scale


class Square(ndl.Op):
    """A user's own operation."""

    def compute(self, a: ndl.NDArray) -> ndl.NDArray:
        return a * a

    def gradient(self, out_grad: ndl.Tensor, node: ndl.Tensor) -> ndl.Tensor:
        return out_grad * node.inputs[0] * 2


def tensors() -> None:
    x = ndl.Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert_type(x, ndl.Tensor)
    assert_type(ndl.Tensor(np.ones((2, 2)), dtype="float64", requires_grad=False), ndl.Tensor)
    assert_type(x + 1, ndl.Tensor)
    assert_type(1 - x, ndl.Tensor)
    assert_type(x / [1.0, 2.0], ndl.Tensor)
    assert_type(np.float32(2) * x, ndl.Tensor)
    assert_type(x @ x.T, ndl.Tensor)
    assert_type(-(x**2), ndl.Tensor)
    assert_type(x == 1, ndl.Tensor)
    assert_type(x < x, ndl.Tensor)
    assert_type(x[0, ..., None, ::2], ndl.Tensor)
    assert_type(x[x > 1], ndl.Tensor)
    assert_type(x[[1, 0]], ndl.Tensor)
    assert_type(x.sum(axes=0), ndl.Tensor)
    assert_type(x.mean((0, 1)), ndl.Tensor)
    assert_type(x.reshape(4, 1), ndl.Tensor)
    assert_type(x.reshape((4, 1)), ndl.Tensor)
    assert_type(ndl.softmax(x), ndl.Tensor)
    assert_type(ndl.where(x > 1, x, 0), ndl.Tensor)
    assert_type(ndl.split(x), ndl.TensorTuple)
    assert_type(ndl.split(x)[0], ndl.Tensor)
    assert_type(Square()(x), ndl.Tensor)
    assert_type(x.numpy(), NumPyArray)
    assert_type(x.item() if x.size == 1 else 0, bool | int | float)
    assert_type(x.shape, tuple[int, ...])
    assert_type(x.dtype, DType)
    assert_type(x.device, ndl.Device)
    assert_type(x.grad, ndl.Tensor | None)
    with ndl.no_grad():
        x += 1
    assert_type(x, ndl.Tensor)
    assert_type(ndl.gradients(x.sum(), [x]), list[ndl.Tensor | None])


def arrays() -> None:
    a = ndl.cpu().ones(2, 3)
    assert_type(a, ndl.NDArray)
    assert_type(2 * a + np.ones(3), ndl.NDArray)
    assert_type(a.sum(axis=0, keepdims=True), ndl.NDArray)
    assert_type(a.numpy(), NumPyArray)
    assert_type(ndl.backend_ndarray.exp(a), ndl.NDArray)


def training() -> None:
    examples = NDArrayDataset(np.ones((6, 4), np.float32), np.arange(6) % 3)
    loader = DataLoader(examples, batch_size=3, shuffle=True)
    assert_type(nn.Linear(3, 4)(ndl.init.randn(2, 3)), ndl.Tensor)
    assert_type(nn.LSTM(3, 4)(ndl.init.randn(5, 2, 3))[1], tuple[ndl.Tensor, ndl.Tensor])
    model, loss_function = Classifier(), nn.SoftmaxLoss()
    assert_type(model.parameters(), list[ndl.Parameter])
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = CosineAnnealingLR(optimizer, T_max=2)
    for batch in loader:
        assert_type(batch, tuple[ndl.Tensor, ...])
        x, labels = batch
        optimizer.reset_grad()
        logits = model(x, scale=2.0)
        assert_type(logits, ndl.Tensor)
        loss = loss_function(logits, labels)
        assert_type(loss, ndl.Tensor)
        loss.backward()
        assert_type(optimizer.clip_grad_norm(1.0), ndl.Tensor)
        optimizer.step()
    schedule.step()
    assert_type(optimizer.lr, float)
    assert_type(model.eval(), Classifier)
    assert_type(model.state_dict(), dict[str, NumPyArray])


def main() -> None:
    tensors()
    arrays()
    training()


if __name__ == "__main__":
    main()
