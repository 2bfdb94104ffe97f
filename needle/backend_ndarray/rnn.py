"""Recurrent layers over whole sequences (T, B, I), forward and backward. Formulas: kernel_table.py.

The part that does not depend on the previous step is one matrix product for all steps, done by the matmul kernel. The
recurrent kernels do the rest, step by step. They keep the initial states in front of the states after each step, as (T
+ 1, B, H), so that all states, or all but the last, are one array.
"""

from __future__ import annotations

from needle.backend_ndarray import matmul, ndarray
from needle.backend_ndarray.arguments import choice
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Shape
from needle.backend_ndarray.spec import Shaped, Spec, require_floating
from needle.errors import ShapeError


def infer_recurrent(op: str, gates: int, x: Shaped, W_ih: Shaped, W_hh: Shaped, bias: Shaped, *states: Shaped) -> Spec:
    """(T, B, H) from x (T, B, I), W_ih (I, gates*H), W_hh (H, gates*H), bias (gates*H,) and states (B, H)."""
    shape = recurrent_shape(op, gates, x.shape, W_ih, W_hh, bias, *states)
    return Spec(shape, require_floating(op, x, W_ih, W_hh, bias, *states))


def recurrent_shape(
    op: str, gates: int, x_shape: Shape, W_ih: Shaped, W_hh: Shaped, bias: Shaped, *states: Shaped
) -> Shape:
    """The shape of `infer_recurrent`, for any dtypes."""
    width = W_hh.shape[0] if len(W_hh.shape) == 2 else 0
    fits = (
        len(x_shape) == 3
        and x_shape[0] > 0
        and W_hh.shape == (width, gates * width)
        and W_ih.shape == (x_shape[2], gates * width)
        and bias.shape == (gates * width,)
        and all(state.shape == (x_shape[1], width) for state in states)
    )
    if not fits:
        met = ", ".join(str(operand.shape) for operand in (W_ih, W_hh, bias, *states))
        blocks = "H" if gates == 1 else f"{gates}H"
        raise ShapeError(
            f"{op}: shapes {x_shape}, {met}: expected x (T, B, I) with T of 1 or more, W_ih (I, {blocks}), "
            f"W_hh (H, {blocks}), bias ({blocks},) and states (B, H)"
        )
    return x_shape[0], x_shape[1], width


def rnn(x: NDArray, W_ih: NDArray, W_hh: NDArray, bias: NDArray, h0: NDArray, nonlinearity: str) -> NDArray:
    """The states (T + 1, B, H): h0, then the state after each step."""
    choice("rnn", "nonlinearity", nonlinearity, ("tanh", "relu"))
    same_device("rnn", x, W_ih, W_hh, bias, h0)
    spec = infer_recurrent("rnn", 1, x, W_ih, W_hh, bias, h0)
    gates = matmul.matmul(x, W_ih)
    hidden = _states(h0, spec)
    call(x.device, "rnn", gates, W_hh, bias, hidden, nonlinearity == "relu")
    return hidden


def rnn_backward(grad_hidden: NDArray, hidden: NDArray, W_hh: NDArray, nonlinearity: str) -> tuple[NDArray, NDArray]:
    """(grad_gates (T, B, H), grad_h0) from the adjoints of the states after each step; `hidden` is from `rnn`."""
    grad_gates = ndarray.empty(grad_hidden.shape, hidden.dtype, hidden.device)
    grad_h0 = ndarray.empty(hidden.shape[1:], hidden.dtype, hidden.device)
    call(hidden.device, "rnn_backward", grad_hidden, hidden, W_hh, grad_gates, grad_h0, nonlinearity == "relu")
    return grad_gates, grad_h0


def lstm(
    x: NDArray, W_ih: NDArray, W_hh: NDArray, bias: NDArray, h0: NDArray, c0: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """(gates (T, B, 4H) after their nonlinearities, hidden (T + 1, B, H), cells (T + 1, B, H))."""
    same_device("lstm", x, W_ih, W_hh, bias, h0, c0)
    spec = infer_recurrent("lstm", 4, x, W_ih, W_hh, bias, h0, c0)
    gates = matmul.matmul(x, W_ih)
    hidden, cells = _states(h0, spec), _states(c0, spec)
    call(x.device, "lstm", gates, W_hh, bias, hidden, cells)
    return gates, hidden, cells


def lstm_backward(
    grad_hidden: NDArray, grad_cell: NDArray, gates: NDArray, cells: NDArray, W_hh: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """(grad_gates (T, B, 4H), grad_h0, grad_c0) from the adjoints of h after each step and of the last c.

    `gates` and `cells` are from `lstm`; grad_gates is the gradient of the gates before their nonlinearities.
    """
    grad_gates = ndarray.empty(gates.shape, gates.dtype, gates.device)
    grad_h0, grad_c0 = (ndarray.empty(grad_cell.shape, gates.dtype, gates.device) for _ in range(2))
    operands = (grad_hidden, grad_cell, gates, cells, W_hh)
    call(gates.device, "lstm_backward", *operands, grad_gates, grad_h0, grad_c0)
    return grad_gates, grad_h0, grad_c0


def _states(first: NDArray, spec: Spec) -> NDArray:
    """An array (T + 1, B, H) for `first`, which is copied in, and the state after each step of `spec` (T, B, H)."""
    states = ndarray.empty((spec.shape[0] + 1, *spec.shape[1:]), spec.dtype, first.device)
    call(first.device, "copy", first, states[0])
    return states
