"""Dropout."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray.arguments import probability
from needle.nn.module import Module


class Dropout(Module):
    """In training mode, zeroes each element with probability p, else scales by 1 / (1 - p) (Srivastava et al. 2014).

    The mask comes from the device's own generator, which `needle.manual_seed` seeds. In evaluation mode x is unchanged.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("Dropout", p)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p) if self.training else x
