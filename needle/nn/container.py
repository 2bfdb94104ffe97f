"""Modules that combine other modules or pass their input on."""

from __future__ import annotations

import math
from collections.abc import Callable

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray.spec import check_nonlinearity
from needle.errors import ShapeError
from needle.nn.checks import check_tensor
from needle.nn.module import Module


class Sequential(Module):
    """Modules (or functions) applied one after another."""

    def __init__(self, *modules: Callable[[Tensor], Tensor]) -> None:
        for module in modules:
            if not callable(module):
                raise TypeError(f"Sequential: a {type(module).__name__}: expected Modules, as in Sequential(a, b)")
        self.modules = modules

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules:
            x = module(x)
        return x


class Residual(Module):
    """fn(x) + x or, with the nonlinearity "relu", max(fn(x) + x, 0) (He et al. 2016)."""

    def __init__(self, fn: Callable[[Tensor], Tensor], nonlinearity: str | None = None) -> None:
        check_nonlinearity("Residual", nonlinearity)
        if not callable(fn):
            raise TypeError(f"Residual: a {type(fn).__name__}: expected a Module")
        self.fn = fn
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor) -> Tensor:
        out = self.fn(x)
        return ops.add_relu(out, x) if self.nonlinearity == "relu" else out + x


class Identity(Module):
    """x."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """(N, ...) to (N, number of elements of one example)."""

    def forward(self, x: Tensor) -> Tensor:
        check_tensor("Flatten", "x", x)
        if not x.shape:
            raise ShapeError("Flatten: an input of shape (): expected (N, ...)")
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
