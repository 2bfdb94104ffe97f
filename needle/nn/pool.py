"""Pooling of images (N, C, H, W) to (N, C, H', W'), H' = (H + 2 padding - kernel_size) // stride + 1."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray.arguments import whole
from needle.errors import ShapeError
from needle.nn.checks import check_counts
from needle.nn.images import channels_first, channels_last
from needle.nn.module import Module


class _Pool2d(Module):
    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        """`stride` defaults to the kernel size; `padding` is at most half the kernel size."""
        stride = kernel_size if stride is None else stride
        check_counts(type(self).__name__, kernel_size=kernel_size, stride=stride)
        padding = whole(type(self).__name__, "padding", padding)
        if 2 * padding > kernel_size:
            raise ShapeError(f"{type(self).__name__}: padding of {padding}: expected 0 to half of {kernel_size}")
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding


class MaxPool2d(_Pool2d):
    """The largest element of each kernel_size x kernel_size window; padding is ignored."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(ops.max_pool2d(channels_last(self, x), self.kernel_size, self.stride, self.padding))


class AvgPool2d(_Pool2d):
    """The mean of each kernel_size x kernel_size window; padding counts as zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(ops.avg_pool2d(channels_last(self, x), self.kernel_size, self.stride, self.padding))
