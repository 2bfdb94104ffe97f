"""One step of a recurrent layer. Where it can, a cell runs the fused operation for a sequence on one step.

`ops.rnn_cell` and `ops.lstm_cell` are the same steps in small operations, the versions to read.
"""

from __future__ import annotations

import math

from needle import init, ops
from needle.autograd import Parameter, Tensor, autocasting
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.arguments import choice
from needle.errors import ShapeError
from needle.nn.checks import check_counts, check_flags, check_tensor, parameter_options
from needle.nn.module import Module


def as_pair(layer: Module, states: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    """The states (h, c) of an LSTM, or (None, None). Raises TypeError unless they are a pair."""
    if states is None:
        return None, None
    if not isinstance(states, (tuple, list)) or len(states) != 2:
        raise TypeError(f"{layer}: a state that is no pair but {type(states).__name__}: expected (h, c)")
    return states[0], states[1]


def check_state(layer: Module, name: str, state: Tensor, shape: tuple[int, ...]) -> None:
    """Raises ShapeError, or TypeError, unless the state is a Tensor of that shape."""
    check_tensor(layer, name, state)
    if state.shape != shape:
        raise ShapeError(f"{layer}: {name} of shape {state.shape}: expected {shape}")


class _Cell(Module):
    """The weights of one step, drawn in this order from the uniform distribution on +-sqrt(1 / hidden_size):

    W_ih (input_size, gates * hidden_size), W_hh (hidden_size, gates * hidden_size), and, unless bias is False, bias_ih
    and bias_hh (gates * hidden_size,).
    """

    gates: int  # the number of blocks of hidden_size columns in the weights

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        name = type(self).__name__
        check_counts(name, input_size=input_size, hidden_size=hidden_size)
        check_flags(name, bias=bias)
        self.input_size = input_size
        self.hidden_size = hidden_size
        bound, width = math.sqrt(1 / hidden_size), self.gates * hidden_size
        options = parameter_options(name, device, dtype)

        def drawn(*shape: int) -> Parameter:
            return Parameter(init.rand(*shape, low=-bound, high=bound, **options))

        self.W_ih = drawn(input_size, width)
        self.W_hh = drawn(hidden_size, width)
        self.bias_ih = drawn(width) if bias else None
        self.bias_hh = drawn(width) if bias else None

    def bias(self) -> Tensor:
        """bias_ih + bias_hh, or zeros: (gates * hidden_size,)."""
        if self.bias_ih is None or self.bias_hh is None:
            return init.zeros(self.gates * self.hidden_size, device=self.W_hh.device, dtype=self.W_hh.dtype)
        return self.bias_ih + self.bias_hh

    def state(self, name: str, given: Tensor | None, batch: int) -> Tensor:
        """The given state (batch, hidden_size), or zeros. Raises ShapeError if it has another shape."""
        shape = (batch, self.hidden_size)
        if given is None:
            return init.zeros(*shape, device=self.W_hh.device, dtype=self.W_hh.dtype)
        check_state(self, name, given, shape)
        return given

    def is_one_operation(self, *operands: Tensor) -> bool:
        """Whether the step can be the fused operation: its operands have one dtype, and nothing casts them.

        Under autocast the fused operation would keep the states, which a cell hands on from step to step, in a half
        type.
        """
        return autocasting() is None and all(x.dtype is self.W_hh.dtype for x in (*operands, self.W_ih))

    def check_input(self, X: Tensor) -> None:
        """Raises ShapeError unless X is (B, input_size)."""
        check_tensor(self, "X", X)
        if X.ndim != 2 or X.shape[1] != self.input_size:
            raise ShapeError(f"{self}: an input of shape {X.shape}: expected (B, {self.input_size})")


def _one_step(X: Tensor) -> Tensor:
    """(B, C) as a sequence of one step, (1, B, C)."""
    return ops.reshape(X, (1, *X.shape))


def _state_after(hidden: Tensor) -> Tensor:
    """The state after a sequence of one step: (B, C) of (1, B, C)."""
    return ops.reshape(hidden, hidden.shape[1:])


class RNNCell(_Cell):
    """One step of the recurrent layer of Elman 1990: h' = tanh(x W_ih + bias_ih + h W_hh + bias_hh), or relu of it."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        choice("RNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, X: Tensor, h: Tensor | None = None) -> Tensor:
        """h' (B, hidden_size) from X (B, input_size) and h (B, hidden_size), which defaults to zeros."""
        self.check_input(X)
        h = self.state("h", h, X.shape[0])
        bias = self.bias()
        if not self.is_one_operation(X, h, bias):
            return ops.rnn_cell(X, h, self.W_ih, self.W_hh, bias, self.nonlinearity)
        return _state_after(ops.rnn(_one_step(X), self.W_ih, self.W_hh, bias, h, self.nonlinearity))


class LSTMCell(_Cell):
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    The gates i, f, g, o are, in this order, the blocks of hidden_size columns of x W_ih + bias_ih + h W_hh + bias_hh:

        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')
    """

    gates = 4

    def forward(self, X: Tensor, h: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """(h', c') from X (B, input_size) and the pair h = (h, c), by default zeros; states are (B, hidden_size)."""
        self.check_input(X)
        h0, c0 = as_pair(self, h)
        h0, c0 = self.state("h", h0, X.shape[0]), self.state("c", c0, X.shape[0])
        bias = self.bias()
        if not self.is_one_operation(X, h0, c0, bias):
            return ops.lstm_cell(X, h0, c0, self.W_ih, self.W_hh, bias)
        hidden, c = ops.lstm(_one_step(X), self.W_ih, self.W_hh, bias, h0, c0)
        return _state_after(hidden), c
