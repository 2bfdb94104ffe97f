"""Element-wise nonlinearities."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class GELU(Module):
    """x * P(X <= x) for a standard normal X (Hendrycks and Gimpel 2016), computed with the error function."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x)
