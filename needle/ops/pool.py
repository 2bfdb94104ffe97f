"""Pooling of channels-last images (N, H, W, C) over kernel x kernel windows."""

from __future__ import annotations

import math

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import pool as array_api
from needle.backend_ndarray.arguments import whole
from needle.ops.arithmetic import add
from needle.ops.compare import where
from needle.ops.fused import FusedOp
from needle.ops.getitem import getitem
from needle.ops.shape import pad


class _Pool2d(FusedOp):
    def __init__(self, kernel: int, stride: int | None, padding: int) -> None:
        self.kernel = whole(type(self).__name__, "kernel", kernel, 1)
        self.stride = self.kernel if stride is None else whole(type(self).__name__, "stride", stride, 1)
        self.padding = whole(type(self).__name__, "padding", padding)

    @property
    def settings(self) -> tuple[int, int, int]:
        return self.kernel, self.stride, self.padding

    def shifted(self, x: Tensor, padding_value: float) -> list[Tensor]:
        """One (N, H', W', C) slice of the padded images per position in the window, row by row."""
        _, rows, columns, _ = array_api.infer_pool2d(type(self).__name__, x, *self.settings).shape
        if self.padding:
            border = (self.padding, self.padding)
            x = pad(x, ((0, 0), border, border, (0, 0)), padding_value)
        last_row, last_column = (rows - 1) * self.stride + 1, (columns - 1) * self.stride + 1
        offsets = [(i, j) for i in range(self.kernel) for j in range(self.kernel)]
        step = self.stride
        return [
            getitem(x, (slice(None), slice(i, i + last_row, step), slice(j, j + last_column, step))) for i, j in offsets
        ]


class MaxPool2d(_Pool2d):
    """The largest element of each window"""

    def compute(self, x: NDArray) -> NDArray:
        return array_api.max_pool2d(x, *self.settings)

    def decompose(self, x: Tensor) -> Tensor:
        largest, *rest = self.shifted(x, -math.inf)
        for candidate in rest:  # of equal elements, or of NaNs, the first is taken and gets the gradient
            is_larger = where(candidate == candidate, candidate > largest, largest == largest)
            largest = where(is_larger, candidate, largest)
        return largest

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        x = node.inputs[0]
        return (array_api.max_pool2d_backward(x.cached_data, out_grad.cached_data, *self.settings),)


class AvgPool2d(_Pool2d):
    """The mean of each window, counting the padding's zeros"""

    def compute(self, x: NDArray) -> NDArray:
        return array_api.avg_pool2d(x, *self.settings)

    def decompose(self, x: Tensor) -> Tensor:
        total, *rest = self.shifted(x, 0.0)
        for window in rest:
            total = add(total, window)
        return total / self.kernel**2

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        x_shape = node.inputs[0].shape
        return (array_api.avg_pool2d_backward(out_grad.cached_data, x_shape, *self.settings),)


def max_pool2d(a: Tensor, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """The largest element of each window of images (N, H, W, C); `stride` defaults to `kernel`."""
    return MaxPool2d(kernel, stride, padding)(a)


def avg_pool2d(a: Tensor, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """The mean of each window of images (N, H, W, C), counting the padding's zeros; `stride` defaults to `kernel`."""
    return AvgPool2d(kernel, stride, padding)(a)
