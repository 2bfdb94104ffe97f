"""Softmax and related functions, shifted by the maximum so that nothing overflows."""

from __future__ import annotations

from needle.backend_ndarray import ndarray
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.shape import Axes, normalize_axes, normalize_axis, reduced_shape
from needle.backend_ndarray.spec import Shaped, Spec, require_floating
from needle.errors import DTypeError, ShapeError


def _along_axis(op: str, x: NDArray, axis: int) -> NDArray:
    same_device(op, x)
    axis = normalize_axis(op, axis, x.ndim)
    if x.shape[axis] == 0:
        raise ShapeError(f"{op}: no elements along axis {axis} of shape {x.shape}: expected one or more")
    require_floating(op, x)
    out = ndarray.empty_like(x)
    order = [i for i in range(x.ndim) if i != axis] + [axis]
    call(x.device, op, x.permute(order), out.permute(order))
    return out


def softmax(x: NDArray, axis: int = -1) -> NDArray:
    """e^x / sum(e^x) along the axis."""
    return _along_axis("softmax", x, axis)


def log_softmax(x: NDArray, axis: int = -1) -> NDArray:
    """x - log(sum(e^x)) along the axis."""
    return _along_axis("log_softmax", x, axis)


def logsumexp(x: NDArray, axes: Axes = None, keepdims: bool = False) -> NDArray:
    """log(sum(e^x)) over the axes (None: all)."""
    same_device("logsumexp", x)
    axes = normalize_axes("logsumexp", axes, x.ndim)
    if any(x.shape[i] == 0 for i in axes):
        raise ShapeError(f"logsumexp: no elements along axes {axes} of shape {x.shape}: expected one or more")
    shape = reduced_shape(x.shape, axes, flag("logsumexp", "keepdims", keepdims))
    require_floating("logsumexp", x)
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.permute([*kept, *axes]).reshape(*(x.shape[i] for i in kept), -1) if x.size else x.reshape(*shape, 1)
    out = ndarray.empty(rows.shape[:-1], x.dtype, x.device)
    call(x.device, "logsumexp", rows, out)
    return out.reshape(shape)


def infer_softmax_cross_entropy(logits: Shaped, labels: Shaped) -> Spec:
    """One loss per row."""
    if len(logits.shape) != 2 or labels.shape != logits.shape[:1] or logits.shape[1] == 0:
        raise ShapeError(
            f"softmax_cross_entropy: logits {logits.shape} and labels {labels.shape}: expected (N, classes) and (N,)"
        )
    if labels.dtype.kind != "integer":
        raise DTypeError(f"softmax_cross_entropy: labels of dtype {labels.dtype}: expected integers")
    return Spec(labels.shape, require_floating("softmax_cross_entropy", logits))


def softmax_cross_entropy(logits: NDArray, labels: NDArray) -> NDArray:
    """-log(softmax(logits)[label]) of each row; logits (N, classes), labels (N,) int32 or int64.

    Raises ShapeError for a label outside 0..classes-1.
    """
    same_device("softmax_cross_entropy", logits, labels)
    loss = ndarray.empty(*infer_softmax_cross_entropy(logits, labels), logits.device)
    call(logits.device, "softmax_cross_entropy", logits, labels, loss)
    return loss


def softmax_cross_entropy_backward(logits: NDArray, labels: NDArray, grad_loss: NDArray) -> NDArray:
    """The gradient with respect to logits: (softmax(logits) - one_hot(labels)) * grad_loss, row by row."""
    grad_logits = ndarray.empty_like(logits)
    call(logits.device, "softmax_cross_entropy_backward", logits, labels, grad_loss, grad_logits)
    return grad_logits
