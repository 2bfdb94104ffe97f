"""Batch normalization (Ioffe and Szegedy 2015) and layer normalization (Ba, Kiros and Hinton 2016).

x^ = (x - mean) / sqrt(variance + eps), out = x^ * weight + bias; the last axis of x holds the channels. Variances are
biased. A ReLU after a batch normalization can be fused into it (nonlinearity="relu"): max(out, 0) then needs no pass of
its own over the activations, neither forward nor backward. The backward pass recomputes the ReLU's mask from x.
"""

from __future__ import annotations

from needle.autograd import Op, Tensor, require_tensors
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import norm as array_api
from needle.errors import short
from needle.ops.arithmetic import power
from needle.ops.broadcast import expand_reduced
from needle.ops.cast import widened
from needle.ops.fused import FusedOp
from needle.ops.reduce import mean
from needle.ops.unary import relu, relu_backward


class _Norm(FusedOp):
    """Normalizes by the mean and variance of x itself, which are saved for the gradient."""

    saves = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def axes(self, ndim: int) -> tuple[int, ...]:
        """The axes over which the statistics are taken."""
        raise NotImplementedError

    def decompose(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        axes = self.axes(x.ndim)
        centered = x - expand_reduced(mean(x, axes), x, axes)
        scale = power(mean(centered * centered, axes) + self.eps, -0.5)
        return centered * expand_reduced(scale, x, axes) * weight + bias


class BatchNorm(_Norm):
    """Statistics per channel, over all other axes; with "relu", max(out, 0)

    `compute` also updates the running statistics, a mean and a variance, if there are any. They are a setting, not
    inputs: no gradient depends on them, and as inputs, once the next forward pass has changed them, they would count as
    operands changed since this one.
    """

    def __init__(
        self, eps: float, nonlinearity: str | None = None, running: tuple[NDArray, ...] = (), momentum: float = 0.1
    ) -> None:
        super().__init__(eps)
        self.nonlinearity = nonlinearity
        self.running = running
        self.momentum = momentum

    def compute(self, x: NDArray, weight: NDArray, bias: NDArray) -> tuple[NDArray, tuple[NDArray, ...]]:
        settings = (self.eps, self.nonlinearity, self.running, self.momentum)
        out, *statistics = array_api.batch_norm(x, weight, bias, *settings)
        return out, tuple(statistics)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim - 1))

    def decompose(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = super().decompose(x, weight, bias)
        return relu(out) if self.nonlinearity == "relu" else out

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        x, weight, bias = (value.cached_data for value in node.inputs)
        mean, variance = node.saved
        settings = (self.eps, self.nonlinearity)
        return array_api.batch_norm_backward(out_grad.cached_data, x, weight, bias, mean, variance, *settings)


class LayerNorm(_Norm):
    """Statistics per row, over the last axis"""

    def compute(self, x: NDArray, weight: NDArray, bias: NDArray) -> tuple[NDArray, tuple[NDArray, ...]]:
        out, *statistics = array_api.layer_norm(x, weight, bias, self.eps)
        return out, tuple(statistics)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (ndim - 1,)

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        x, weight = (value.cached_data for value in node.inputs[:2])
        mean, variance = node.saved
        return array_api.layer_norm_backward(out_grad.cached_data, x, weight, mean, variance, self.eps)


class BatchNormInference(Op):
    """Normalizes by given statistics, which get no gradient; with "relu", max(out, 0)"""

    def __init__(self, eps: float, nonlinearity: str | None = None) -> None:
        self.eps = eps
        self.nonlinearity = nonlinearity

    def compute(self, x: NDArray, weight: NDArray, bias: NDArray, mean: NDArray, variance: NDArray) -> NDArray:
        return array_api.batch_norm_inference(x, weight, bias, mean, variance, self.eps, self.nonlinearity)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        if self.nonlinearity == "relu":
            out_grad = relu_backward(out_grad, node)
        x, weight, _, mean, variance = node.inputs
        out_grad, x, weight, mean = map(widened, (out_grad, x, weight, mean))
        rows = tuple(range(x.ndim - 1))
        scale = power(widened(variance) + self.eps, -0.5)
        grad_weight = (out_grad * ((x - mean) * scale)).sum(rows)
        return out_grad * (weight * scale), grad_weight, out_grad.sum(rows), None, None


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalizes x (..., C) along its last axis; weight, bias (C,)."""
    return LayerNorm(eps)(x, weight, bias)


def batch_norm_inference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float = 1e-5,
    nonlinearity: str | None = None,
) -> Tensor:
    """Normalizes x (..., C) by given statistics per channel; weight, bias, mean, variance (C,).

    With the nonlinearity "relu", the result is max(., 0) of that.
    """
    return BatchNormInference(eps, nonlinearity)(x, weight, bias, mean, variance)


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    nonlinearity: str | None = None,
    running: tuple[Tensor, Tensor] | None = None,
    momentum: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """(out, mean, variance): x (..., C) normalized per channel, and the statistics (C,), which carry no gradient.

    The statistics of float16 and bfloat16 are float32. With the nonlinearity "relu", out is max(out, 0).

    `running` is a running mean and a running variance (C,), which are updated in place, without a gradient:

        running = running + momentum * (statistic - running)

    Raises ShapeError, DTypeError or DeviceError for running statistics that do not fit x.
    """
    followed: tuple[NDArray, ...] = ()
    if running is not None:
        if not isinstance(running, (tuple, list)) or len(running) != 2:
            raise TypeError(f"batch_norm: running {short(running)}: expected None or a pair of Tensors")
        require_tensors("batch_norm", *running)
        followed = tuple([statistic.cached_data for statistic in running])
    out = BatchNorm(eps, nonlinearity, followed, momentum)(x, weight, bias)
    mean, variance = out.saved
    return out, Tensor.make_const(mean), Tensor.make_const(variance)
