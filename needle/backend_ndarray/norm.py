"""Normalization: out = (x - mean) / sqrt(variance + eps) * weight + bias; the last axis of x holds the channels.

Batch normalization (Ioffe and Szegedy 2015) uses a mean and a variance per channel, over all other axes. Layer
normalization (Ba, Kiros and Hinton 2016) uses one of each per row, over the last axis. Variances are biased (divided by
n).

If x is of a half type, the statistics are float32: with rounded statistics, the backward pass of a batch normalization
could take the ReLU to be open where it was closed. Weight, bias and given statistics may be float32 too.
"""

from __future__ import annotations

from collections.abc import Sequence

from needle.backend_ndarray import changes, ndarray
from needle.backend_ndarray.arguments import real
from needle.backend_ndarray.device import same_device
from needle.backend_ndarray.dispatch import call
from needle.backend_ndarray.dtype import DType, float32
from needle.backend_ndarray.ndarray import NDArray
from needle.backend_ndarray.spec import check_nonlinearity, require_floating
from needle.errors import ShapeError


def _check(op: str, x: NDArray, weight: NDArray, bias: NDArray, *statistics: NDArray) -> None:
    """Raises DeviceError, ShapeError or DTypeError unless op takes these operands.

    Weight, bias and given statistics have one element per channel.
    """
    same_device(op, x, weight, bias, *statistics)
    if not x.shape or weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"{op}: x {x.shape}, weight {weight.shape}, bias {bias.shape}: expected (..., C), (C,) and (C,)"
        )
    for vector in statistics:
        if vector.shape != weight.shape:
            raise ShapeError(f"{op}: statistics of shape {vector.shape}: expected {weight.shape}")
    if op == "batch_norm" and 0 in x.shape or op == "layer_norm" and x.shape[-1] == 0:
        raise ShapeError(f"{op}: x {x.shape}: expected one element or more, as of none there is no mean")
    others = [vector for vector in (weight, bias, *statistics) if vector.dtype is not _statistics_dtype(x)]
    require_floating(op, x, *others)


def _statistics_dtype(x: NDArray) -> DType:
    return float32 if x.dtype.itemsize < 4 else x.dtype


def batch_norm(
    x: NDArray,
    weight: NDArray,
    bias: NDArray,
    eps: float,
    nonlinearity: str | None = None,
    running: Sequence[NDArray] = (),
    momentum: float = 0.1,
) -> tuple[NDArray, NDArray, NDArray]:
    """(out, mean, variance) with the statistics of x itself, each of shape (C,); with "relu" out is max(out, 0).

    `running` is empty or holds the running mean and the running variance (C,), which are updated in place:

        running = running + momentum * (statistic - running)
    """
    check_nonlinearity("batch_norm", nonlinearity)
    _check("batch_norm", x, weight, bias, *running)
    used = {id(operand.buffer) for operand in (x, weight, bias)} if running else set()
    for statistic in running:  # which the kernel writes
        if statistic.overlaps_itself() or id(statistic.buffer) in used:
            raise ShapeError(
                "batch_norm: running statistics that share memory: expected arrays of their own, see .copy()"
            )
        used.add(id(statistic.buffer))
    eps = real("batch_norm", "eps", eps, 0)
    momentum = real("batch_norm", "momentum", momentum, 0, most=1)
    out = ndarray.empty_like(x)
    mean, variance = (ndarray.empty(weight.shape, _statistics_dtype(x), x.device) for _ in range(2))
    operands = (x, weight, bias, list(running), out, mean, variance)
    call(x.device, "batch_norm", *operands, eps, momentum, nonlinearity == "relu")
    for statistic in running:
        changes.mark(statistic)
    return out, mean, variance


def batch_norm_inference(
    x: NDArray,
    weight: NDArray,
    bias: NDArray,
    mean: NDArray,
    variance: NDArray,
    eps: float,
    nonlinearity: str | None = None,
) -> NDArray:
    """out with given statistics; with "relu", max(out, 0)."""
    check_nonlinearity("batch_norm_inference", nonlinearity)
    _check("batch_norm_inference", x, weight, bias, mean, variance)
    eps = real("batch_norm_inference", "eps", eps, 0)
    out = ndarray.empty_like(x)
    call(x.device, "batch_norm_inference", x, weight, bias, mean, variance, out, eps, nonlinearity == "relu")
    return out


def layer_norm(x: NDArray, weight: NDArray, bias: NDArray, eps: float) -> tuple[NDArray, NDArray, NDArray]:
    """(out, mean, variance) with the statistics of each row, of shape x.shape[:-1]."""
    _check("layer_norm", x, weight, bias)
    eps = real("layer_norm", "eps", eps, 0)
    out = ndarray.empty_like(x)
    mean, variance = (ndarray.empty(x.shape[:-1], _statistics_dtype(x), x.device) for _ in range(2))
    call(x.device, "layer_norm", x, weight, bias, out, mean, variance, eps)
    return out, mean, variance


def batch_norm_backward(
    grad_out: NDArray,
    x: NDArray,
    weight: NDArray,
    bias: NDArray,
    mean: NDArray,
    variance: NDArray,
    eps: float,
    nonlinearity: str | None = None,
) -> tuple[NDArray, NDArray, NDArray]:
    """(grad_x, grad_weight, grad_bias) of `batch_norm`; mean and variance are those that it returned."""
    grads = _empty_grads(x, weight)
    operands = (grad_out, x, weight, bias, mean, variance)
    call(x.device, "batch_norm_backward", *operands, *grads, eps, nonlinearity == "relu")
    return grads


def layer_norm_backward(
    grad_out: NDArray, x: NDArray, weight: NDArray, mean: NDArray, variance: NDArray, eps: float
) -> tuple[NDArray, NDArray, NDArray]:
    """(grad_x, grad_weight, grad_bias) of `layer_norm`; mean and variance are those that it returned."""
    grads = _empty_grads(x, weight)
    call(x.device, "layer_norm_backward", grad_out, x, weight, mean, variance, *grads, eps)
    return grads


def _empty_grads(x: NDArray, weight: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    grad_weight, grad_bias = (ndarray.empty(weight.shape, weight.dtype, x.device) for _ in range(2))
    return ndarray.empty_like(x), grad_weight, grad_bias
