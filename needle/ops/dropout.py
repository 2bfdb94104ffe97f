"""Dropout (Srivastava et al. 2014)."""

from __future__ import annotations

from needle.autograd import Tensor, require_tensors
from needle.backend_ndarray import random
from needle.backend_ndarray.arguments import probability
from needle.ops.compare import where


def dropout(a: Tensor, p: float = 0.5) -> Tensor:
    """Zeroes each element with probability p, 0 <= p < 1, and scales the others by 1 / (1 - p) to keep the mean.

    The mask comes from the device's counter-based generator: see `needle.manual_seed`.
    """
    require_tensors("dropout", a)
    p = probability("dropout", p)
    if p == 0:
        return a
    mask = Tensor.make_const(random.dropout_mask(a.shape, p, a.dtype, a.device))
    if a.dtype.itemsize == 2:  # rounding 1 / (1 - p) to a half type would bias the mean
        return where(mask != 0, a, 0) * (1 / (1 - p))
    return a * mask
