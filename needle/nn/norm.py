"""Normalization: (x - mean) / sqrt(variance + eps) * weight + bias. Variances are biased (divided by n)."""

from __future__ import annotations

from needle import init, ops
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.arguments import real
from needle.backend_ndarray.spec import check_nonlinearity
from needle.errors import ShapeError
from needle.nn.checks import check_counts, check_tensor, parameter_options
from needle.nn.images import channels_first, channels_last
from needle.nn.module import Module


class BatchNorm1d(Module):
    """Batch normalization (Ioffe and Szegedy 2015) of (N, dim), per column, by mean and variance over the batch.

    In training mode, the statistics are the batch's own, and the buffers follow them:

        running_mean = (1 - momentum) * running_mean + momentum * mean

    running_var is updated likewise with the biased variance, as in the course (PyTorch uses the unbiased one). In
    evaluation mode, the buffers are the statistics. weight and bias (dim,) are initialized to ones and zeros.

    With the nonlinearity "relu", a ReLU is fused into the layer, which saves time and memory.
    """

    def __init__(
        self,
        dim: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: Device | None = None,
        dtype: str | DType = "float32",
        nonlinearity: str | None = None,
    ) -> None:
        check_counts(type(self).__name__, dim=dim)
        self.dim = dim
        self.eps = real(type(self).__name__, "eps", eps, 0)
        self.momentum = real(type(self).__name__, "momentum", momentum, 0, most=1)
        check_nonlinearity(type(self).__name__, nonlinearity)
        self.nonlinearity = nonlinearity
        options = parameter_options(type(self).__name__, device, dtype)
        self.weight = Parameter(init.ones(dim, **options))
        self.bias = Parameter(init.zeros(dim, **options))
        self.running_mean = init.zeros(dim, **options)
        self.running_var = init.ones(dim, **options)

    def forward(self, x: Tensor) -> Tensor:
        check_tensor(self, "x", x)
        if len(x.shape) != 2 or x.shape[1] != self.dim:
            raise ShapeError(f"{self}: an input of shape {x.shape}: expected (N, {self.dim})")
        return self._normalize(x)

    def _normalize(self, x: Tensor) -> Tensor:
        """x (..., dim), normalized along the last axis."""
        running = self.running_mean, self.running_var
        if not self.training:
            return ops.batch_norm_inference(x, self.weight, self.bias, *running, self.eps, self.nonlinearity)
        out, _, _ = ops.batch_norm(x, self.weight, self.bias, self.eps, self.nonlinearity, running, self.momentum)
        return out


class BatchNorm2d(BatchNorm1d):
    """Batch normalization of images (N, dim, H, W), per channel, by mean and variance over batch, H and W."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(self._normalize(channels_last(self, x, self.dim)))


class LayerNorm1d(Module):
    """Layer normalization (Ba, Kiros and Hinton 2016) of (..., dim), per row, by the row's mean and variance.

    weight and bias (dim,) are initialized to ones and zeros.
    """

    def __init__(
        self, dim: int, eps: float = 1e-5, device: Device | None = None, dtype: str | DType = "float32"
    ) -> None:
        check_counts("LayerNorm1d", dim=dim)
        self.dim = dim
        self.eps = real("LayerNorm1d", "eps", eps, 0)
        options = parameter_options("LayerNorm1d", device, dtype)
        self.weight = Parameter(init.ones(dim, **options))
        self.bias = Parameter(init.zeros(dim, **options))

    def forward(self, x: Tensor) -> Tensor:
        check_tensor(self, "x", x)
        if x.shape[-1:] != (self.dim,):
            raise ShapeError(f"{self}: an input of shape {x.shape}: expected (..., {self.dim})")
        return ops.layer_norm(x, self.weight, self.bias, self.eps)
