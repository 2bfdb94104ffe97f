"""Recurrent layers: one step in small operations, and a whole sequence as one operation.

A sequence is (T, B, C): T steps of a batch of B vectors. G = 1 gate for the layer of Elman 1990, G = 4 for long
short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), in the order i, f, g, o.
W_ih (I, G*H), W_hh (H, G*H), bias (G*H,); states (B, H).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from needle.autograd import Tensor, TensorTuple, Value, require_tensors
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import rnn as array_api
from needle.backend_ndarray.arguments import choice
from needle.backend_ndarray.dtype import common_dtype
from needle.backend_ndarray.matmul import linear_backward
from needle.ops.cast import cast, widened
from needle.ops.fused import FusedOp
from needle.ops.matmul import matmul
from needle.ops.shape import reshape, split, stack
from needle.ops.unary import relu, sigmoid, tanh


def rnn_cell(x: Tensor, h: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor, nonlinearity: str = "tanh") -> Tensor:
    """One step: h' = tanh(x W_ih + h W_hh + bias), or relu of it. x (B, I), h and h' (B, H)."""
    _check_cell("rnn_cell", 1, x, W_ih, W_hh, bias, h)
    choice("rnn_cell", "nonlinearity", nonlinearity, ("tanh", "relu"))
    a = widened(matmul(x, W_ih)) + matmul(h, W_hh) + bias
    return cast(relu(a) if nonlinearity == "relu" else tanh(a), common_dtype((x, h, W_ih, W_hh, bias)))


def lstm_cell(x: Tensor, h: Tensor, c: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """One step of long short-term memory: (h', c'), (B, H) each, from x (B, I), h and c.

    With a_i, a_f, a_g, a_o the four parts of x W_ih + h W_hh + bias:

        c' = sigmoid(a_f) * c + sigmoid(a_i) * tanh(a_g)
        h' = sigmoid(a_o) * tanh(c')
    """
    _check_cell("lstm_cell", 4, x, W_ih, W_hh, bias, h, c)
    a = widened(matmul(x, W_ih)) + matmul(h, W_hh) + bias
    i, f, g, o = split(reshape(a, (x.shape[0], 4, h.shape[1])), axis=1)
    next_c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    next_h = sigmoid(o) * tanh(next_c)
    dtype = common_dtype((x, h, c, W_ih, W_hh, bias))
    return cast(next_h, dtype), cast(next_c, dtype)


def _check_cell(op: str, gates: int, x: Tensor, *others: Tensor) -> None:
    """Raises TypeError or ShapeError unless the operands are those of one step."""
    require_tensors(op, x, *others)
    array_api.recurrent_shape(op, gates, (1, *x.shape), *others)


class _Recurrent(FusedOp):
    """A whole sequence; the states from the forward pass are saved for the backward pass."""

    saves = True

    def _weight_gradients(
        self, grad_gates: NDArray, hidden: NDArray, node: Value
    ) -> tuple[NDArray | None, NDArray, NDArray, NDArray]:
        """The adjoints of x, W_ih, W_hh and bias from those of all gates before their nonlinearities.

        One matrix product per adjoint covers all steps.
        """
        x, W_ih, W_hh = (value.cached_data for value in node.inputs[:3])
        grad_x, grad_W_ih, grad_bias = linear_backward(grad_gates, x, W_ih, node.inputs[0].requires_grad)
        rows = x.shape[0] * x.shape[1]
        before = hidden[:-1].reshape(rows, W_hh.shape[0])
        return grad_x, grad_W_ih, before.T @ grad_gates.reshape(rows, W_hh.shape[1]), grad_bias


class RNN(_Recurrent):
    """`rnn_cell` at every step: (T, B, H)"""

    def __init__(self, nonlinearity: str = "tanh") -> None:
        self.nonlinearity = nonlinearity

    def compute(
        self, x: NDArray, W_ih: NDArray, W_hh: NDArray, bias: NDArray, h0: NDArray
    ) -> tuple[NDArray, tuple[NDArray, ...]]:
        hidden = array_api.rnn(x, W_ih, W_hh, bias, h0, self.nonlinearity)
        return hidden[1:], (hidden,)

    def decompose(self, x: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor, h: Tensor) -> Tensor:
        steps = []
        for x_t in split(x):
            h = rnn_cell(x_t, h, W_ih, W_hh, bias, self.nonlinearity)
            steps.append(h)
        return stack(steps)

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        (hidden,), W_hh = node.saved, node.inputs[2].cached_data
        grad_gates, grad_h0 = array_api.rnn_backward(out_grad.cached_data, hidden, W_hh, self.nonlinearity)
        return *self._weight_gradients(grad_gates, hidden, node), grad_h0


class LSTM(_Recurrent):
    """`lstm_cell` at every step: h after every step (T, B, H), and the last c (B, H)"""

    if TYPE_CHECKING:

        def __call__(self, *inputs: Tensor) -> TensorTuple: ...  # type: ignore[override]  # it has two results

    def compute(
        self, x: NDArray, W_ih: NDArray, W_hh: NDArray, bias: NDArray, h0: NDArray, c0: NDArray
    ) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, ...]]:
        gates, hidden, cells = array_api.lstm(x, W_ih, W_hh, bias, h0, c0)
        return (hidden[1:], cells[-1]), (gates, hidden, cells)

    def decompose(
        self, x: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps = []
        for x_t in split(x):
            h, c = lstm_cell(x_t, h, c, W_ih, W_hh, bias)
            steps.append(h)
        return stack(steps), c

    def fused_gradient(self, out_grad: list[Tensor], node: TensorTuple) -> tuple[NDArray | None, ...]:
        grad_hidden, grad_cell = (grad.cached_data for grad in out_grad)
        (gates, hidden, cells), W_hh = node.saved, node.inputs[2].cached_data
        grad_gates, *grad_states = array_api.lstm_backward(grad_hidden, grad_cell, gates, cells, W_hh)
        return *self._weight_gradients(grad_gates, hidden, node), *grad_states


_lstm = LSTM()


def rnn(x: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor, h0: Tensor, nonlinearity: str = "tanh") -> Tensor:
    """`rnn_cell` along x (T, B, I) from the state h0 (B, H): the state after every step, (T, B, H)."""
    return RNN(nonlinearity)(x, W_ih, W_hh, bias, h0)


def lstm(x: Tensor, W_ih: Tensor, W_hh: Tensor, bias: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
    """`lstm_cell` along x (T, B, I) from the states h0 and c0 (B, H): h after every step, (T, B, H), and the last c."""
    hidden, cell = _lstm(x, W_ih, W_hh, bias, h0, c0)
    return hidden, cell
