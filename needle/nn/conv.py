"""Convolution of images."""

from __future__ import annotations

import math

from needle import init, ops
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.arguments import whole
from needle.errors import ShapeError, short
from needle.nn.checks import check_counts, check_flags, parameter_options
from needle.nn.images import channels_first, channels_last
from needle.nn.module import Module


class Conv(Module):
    """Convolves (N, in_channels, H, W) to (N, out_channels, H', W'), H' = (H + 2 (K // 2) - K) // stride + 1.

    The padding of K // 2 zeros keeps H' = H for odd kernels at stride 1 (for even kernels, H' = H + 1). The weight (K,
    K, in_channels, out_channels) is initialized Kaiming uniform with a fan-in of in_channels * K^2. The bias
    (out_channels,), drawn after it, is initialized uniform on +-1 / sqrt(in_channels * K^2).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        bias: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        """`kernel_size` and `stride` may be pairs of equal numbers."""
        k, stride = _square("kernel_size", kernel_size), _square("stride", stride)
        check_counts("Conv", in_channels=in_channels, out_channels=out_channels, kernel_size=k, stride=stride)
        check_flags("Conv", bias=bias)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = k
        self.stride = stride
        self.padding = k // 2
        options = parameter_options("Conv", device, dtype)
        fan_in, fan_out = in_channels * k * k, out_channels * k * k
        shape = (k, k, in_channels, out_channels)
        self.weight = Parameter(init.kaiming_uniform(fan_in, fan_out, shape=shape, **options))
        self.bias = None
        if bias:
            bound = 1 / math.sqrt(fan_in)
            self.bias = Parameter(init.rand(out_channels, low=-bound, high=bound, **options))

    def forward(self, x: Tensor) -> Tensor:
        images = channels_last(self, x, self.in_channels)
        return channels_first(ops.conv(images, self.weight, self.stride, self.padding, self.bias))


def _square(name: str, value: int | tuple[int, int]) -> int:
    """Returns one number for a number or a pair of equal numbers."""
    if not isinstance(value, (tuple, list)):
        return value
    if len(value) != 2 or whole("Conv", name, value[0], 1) != whole("Conv", name, value[1], 1):
        raise ShapeError(f"Conv: {name} of {short(value)}: expected a whole number, or two equal ones")
    return value[0]
