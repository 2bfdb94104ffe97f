"""Converts images between the layers' public layout, (N, C, H, W), and the kernels' layout, (N, H, W, C).

The permutes are views and the kernels keep the memory order of the axes, so activations stay channels-last in memory
from layer to layer, and nothing is copied.
"""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.errors import ShapeError
from needle.nn.checks import check_tensor
from needle.nn.module import Module
from needle.ops.shape import Permute

_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def channels_last(layer: Module, x: Tensor, channels: int | None = None) -> Tensor:
    """x (N, C, H, W) viewed as (N, H, W, C). Raises ShapeError unless x has four axes and C is `channels`, if given."""
    check_tensor(layer, "x", x)
    if len(x.shape) != 4 or channels not in (None, x.shape[1]):
        raise ShapeError(f"{layer}: an input of shape {x.shape}: expected (N, {channels or 'C'}, H, W)")
    if isinstance(x.op, Permute) and x.op.axes == _FIRST and x.inputs:
        images = x.inputs[0]  # of the layer before, so that a pair of permutes which cancel is not recorded
        if images.cached_data.buffer is x.cached_data.buffer:  # x.data has not been assigned since
            return images
    return ops.permute(x, _LAST)


def channels_first(x: Tensor) -> Tensor:
    """x (N, H, W, C) viewed as (N, C, H, W)."""
    return ops.permute(x, _FIRST)
