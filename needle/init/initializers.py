"""Initial weights that keep the variance of activations and gradients constant from layer to layer.

A layer sums `fan_in` products in the forward pass and `fan_out` in the backward pass. So weights of variance gain^2 /
fan preserve the variance if `gain` compensates for the nonlinearity. A uniform distribution on +-bound has the variance
bound^2 / 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from needle.autograd import Tensor
from needle.backend_ndarray.arguments import choice, real, whole
from needle.backend_ndarray.shape import as_shape
from needle.init.basic import TensorOptions, rand, randn

if TYPE_CHECKING:
    from typing_extensions import Unpack

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


def xavier_uniform(fan_in: int, fan_out: int, gain: float = 1.0, **options: Unpack[TensorOptions]) -> Tensor:
    """(fan_in, fan_out), uniform on +-gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    `options`: device, dtype, requires_grad.
    """
    bound = real("xavier_uniform", "gain", gain) * math.sqrt(6 / _both_fans("xavier_uniform", fan_in, fan_out))
    return rand(fan_in, fan_out, low=-bound, high=bound, **options)


def xavier_normal(fan_in: int, fan_out: int, gain: float = 1.0, **options: Unpack[TensorOptions]) -> Tensor:
    """(fan_in, fan_out), normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    `options`: device, dtype, requires_grad.
    """
    std = real("xavier_normal", "gain", gain) * math.sqrt(2 / _both_fans("xavier_normal", fan_in, fan_out))
    return randn(fan_in, fan_out, std=std, **options)


def kaiming_uniform(
    fan_in: int,
    fan_out: int,
    shape: Sequence[int] | None = None,
    nonlinearity: str = "relu",
    **options: Unpack[TensorOptions],
) -> Tensor:
    """`shape`, by default (fan_in, fan_out), uniform on +-gain * sqrt(3 / fan_in) (He et al. 2015).

    The gain is sqrt(2) for "relu", 5/3 for "tanh", 1 for "linear" and "sigmoid".
    `options`: device, dtype, requires_grad.
    """
    gain = _gain("kaiming_uniform", nonlinearity)
    bound = gain * math.sqrt(3 / whole("kaiming_uniform", "fan_in", fan_in, 1))
    shape = as_shape("kaiming_uniform", (fan_in, fan_out) if shape is None else shape)
    return rand(*shape, low=-bound, high=bound, **options)


def kaiming_normal(
    fan_in: int,
    fan_out: int,
    shape: Sequence[int] | None = None,
    nonlinearity: str = "relu",
    **options: Unpack[TensorOptions],
) -> Tensor:
    """`shape`, by default (fan_in, fan_out), normal with standard deviation gain / sqrt(fan_in) (He et al. 2015).

    The gain is that of `kaiming_uniform`. `options`: device, dtype, requires_grad.
    """
    std = _gain("kaiming_normal", nonlinearity) / math.sqrt(whole("kaiming_normal", "fan_in", fan_in, 1))
    shape = as_shape("kaiming_normal", (fan_in, fan_out) if shape is None else shape)
    return randn(*shape, std=std, **options)


def _gain(function: str, nonlinearity: str) -> float:
    choice(function, "nonlinearity", nonlinearity, _GAINS)
    return _GAINS[nonlinearity]


def _both_fans(function: str, fan_in: int, fan_out: int) -> int:
    fans = whole(function, "fan_in", fan_in) + whole(function, "fan_out", fan_out)
    return whole(function, "fan_in + fan_out", fans, 1)
