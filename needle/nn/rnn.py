"""Recurrent layers over whole sequences: the steps of rnn_cell.py as one operation per layer."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.errors import ShapeError
from needle.nn.checks import ParameterOptions, check_counts, check_tensor
from needle.nn.dropout import Dropout
from needle.nn.module import Module
from needle.nn.rnn_cell import LSTMCell, RNNCell, as_pair, check_state


class _Recurrent(Module):
    """Stacked layers: the states of one layer, (T, B, hidden_size), are the input of the next."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        name = type(self).__name__
        check_counts(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = Dropout(dropout)

    def _input_sizes(self) -> list[int]:
        return [self.input_size] + [self.hidden_size] * (self.num_layers - 1)

    def _check_input(self, X: Tensor) -> None:
        check_tensor(self, "X", X)
        if X.ndim != 3 or X.shape[0] == 0 or X.shape[2] != self.input_size:
            expected = f"(T, B, {self.input_size}) with T of 1 or more"
            raise ShapeError(f"{self}: an input of shape {X.shape}: expected {expected}")

    def _states(self, name: str, given: Tensor | None, batch: int) -> list[Tensor | None]:
        """The initial state of each layer, from (num_layers, batch, hidden_size)."""
        if given is None:
            return [None] * self.num_layers
        shape = (self.num_layers, batch, self.hidden_size)
        check_state(self, name, given, shape)
        return list(ops.split(given))


class RNN(_Recurrent):
    """Stacked RNNCell layers, stored in `rnn_cells`, over a sequence (T, B, input_size).

    dropout: the probability of zeroing an output of any layer but the last in training mode.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dropout: float = 0.0,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, dropout)
        options: ParameterOptions = {"device": device, "dtype": dtype}
        self.rnn_cells = [RNNCell(size, hidden_size, bias, nonlinearity, **options) for size in self._input_sizes()]

    def forward(self, X: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(outputs, h_n): the last layer's states (T, B, hidden_size), and every layer's last state.

        h0 and h_n are (num_layers, B, hidden_size); h0 defaults to zeros.
        """
        self._check_input(X)
        batch = X.shape[1]
        last: list[Tensor] = []
        for cell, h in zip(self.rnn_cells, self._states("h0", h0, batch)):
            X = self.dropout(X) if last else X
            h = cell.state("h0", h, batch)
            X = ops.rnn(X, cell.W_ih, cell.W_hh, cell.bias(), h, cell.nonlinearity)
            last.append(X[-1])
        return X, ops.stack(last)


class LSTM(_Recurrent):
    """Stacked LSTMCell layers, stored in `lstm_cells`, over a sequence (T, B, input_size).

    dropout: the probability of zeroing an output of any layer but the last in training mode.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, dropout)
        options: ParameterOptions = {"device": device, "dtype": dtype}
        self.lstm_cells = [LSTMCell(size, hidden_size, bias, **options) for size in self._input_sizes()]

    def forward(self, X: Tensor, h: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(outputs, (h_n, c_n)): the last layer's h (T, B, hidden_size), and every layer's last h and c.

        `h` is the pair (h0, c0), by default zeros; h0, c0, h_n and c_n are (num_layers, B, hidden_size).
        """
        self._check_input(X)
        h0, c0 = as_pair(self, h)
        batch = X.shape[1]
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        states = zip(self._states("h0", h0, batch), self._states("c0", c0, batch))
        for cell, (h_0, c_0) in zip(self.lstm_cells, states):
            X = self.dropout(X) if last_h else X
            first = cell.state("h0", h_0, batch), cell.state("c0", c_0, batch)
            X, c_n = ops.lstm(X, cell.W_ih, cell.W_hh, cell.bias(), *first)
            last_h.append(X[-1])
            last_c.append(c_n)
        return X, (ops.stack(last_h), ops.stack(last_c))
