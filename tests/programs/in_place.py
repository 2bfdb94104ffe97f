"""Changes in place, and what looks like one: x += y.

Of an NDArray, and of a Tensor while operations are recorded, x += y gives x another array, and the old one stays as it
is. Under no_grad a leaf that requires a gradient keeps its place and gets the values, as it does from an optimizer.
"""

from __future__ import annotations

import numpy as np

import needle as ndl
from needle import Tensor
from tests.programs.binary import add, divide, multiply, subtract, array_first, power
from tests.programs.operation import TENSOR, Operation
from tests.programs.rules import Refused, computed_in, converted


def isub(leaf: Tensor, other) -> None:
    """leaf -= other, under no_grad"""
    before = leaf
    with ndl.no_grad():
        leaf -= other
    assert leaf is before, "under no_grad, w -= x gave w another tensor"


def imul(leaf: Tensor, other) -> None:
    """leaf *= other, under no_grad"""
    before = leaf
    with ndl.no_grad():
        leaf *= other
    assert leaf is before, "under no_grad, w *= x gave w another tensor"


def sgd_step(leaf: Tensor, grad: Tensor) -> None:
    """leaf - grad, by an optimizer"""
    leaf.grad = grad
    ndl.optim.SGD([leaf], lr=1.0).step()
    leaf.grad = None


def leaf_and_other(program) -> tuple:
    leaf = program.floating_leaf()
    other = program.beside(leaf)
    return leaf, other


def leaf_and_grad(program) -> tuple:
    leaf = program.floating_leaf()
    return leaf, program.leaf(leaf.shape, dtype=leaf.dtype)


def _assigned(expected):
    """The result of an operation on a leaf, converted to its dtype and put in its place."""

    def assign(leaf: np.ndarray, other) -> None:
        result = expected(leaf, other).values
        if result.shape != leaf.shape:
            raise Refused("a result of another shape")
        leaf[...] = converted(result, leaf.dtype)

    return assign


def _step(leaf: np.ndarray, grad: np.ndarray) -> None:
    weight, grad = (x.astype(computed_in(leaf.dtype)) for x in (leaf, grad))
    leaf[...] = (weight - grad).astype(leaf.dtype)


_HELPERS = {f.__name__: f for f in (isub, imul, sgd_step)}

IN_PLACE = [
    Operation("operator.iadd({0}, {1})", add, array_first, r"add|\+"),
    Operation("operator.isub({0}, {1})", subtract, array_first, "subtract|-"),
    Operation("operator.imul({0}, {1})", multiply, array_first, r"multiply|\*"),
    Operation("operator.itruediv({0}, {1})", divide, array_first, "divide|/"),
    Operation("operator.ipow({0}, {1})", power, array_first, r"power|\*", weight=1),
    Operation("isub({0}, {1})", _assigned(subtract), leaf_and_other, "subtract|-", (TENSOR,), helpers=_HELPERS),
    Operation("imul({0}, {1})", _assigned(multiply), leaf_and_other, r"multiply|\*", (TENSOR,), helpers=_HELPERS),
    Operation("sgd_step({0}, {1})", _step, leaf_and_grad, "sgd", (TENSOR,), helpers=_HELPERS),
]
