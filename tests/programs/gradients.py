"""Gradients of programs, with the graph kept and with it freed, against differences of the same programs in NumPy.

A program of float64 Tensors is one function of its leaves. Its derivative in a random direction is compared: of Needle
the sum of gradient times direction, of NumPy the difference of fourth order

    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, off by h^4 / 30 times the fifth derivative and the roundings of f by h,

in long double, so that h = 2^-12 leaves some 1e-14 of either. Where a comparison, a maximum or the like turns out
differently at one of the points there is a kink, and nothing to compare: such programs are counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

import needle as ndl
from needle import Tensor, ops
from needle.backend_ndarray import Device, array
from needle.errors import GradientError
from tests.programs.choices import Choices
from tests.programs.operation import TENSOR
from tests.programs.lines import Leaf, Statement, Variable, replaced
from tests.programs.program import Mismatch, Program
from tests.programs.table import SMOOTH
from tests.programs.values import BOOL, FLOATING, INTEGERS, Foreign

H = 2.0**-12
FLOAT64 = FLOATING[1]
LARGEST, STEEPEST = 100.0, 1e5  # of values, so that nothing but roundings is lost, and of adjoints
TOLERANCE = 1e-9  # of the steepest adjoint: 1e7 roundings


def run_gradient_program(choices: Choices, device: Device, counts: Counter) -> None:
    """A program of one to eight operations and its gradients. Raises Mismatch."""
    program = Program(choices, TENSOR, device, smooth=True)
    results = []
    for _ in range(choices.integer(1, 8)):
        before = len(program.variables)
        operation = choices.pick(SMOOTH)
        program.run(operation, operation.arguments(program))
        if program.variables[before:] and not all(map(_moderate, program.variables[before:])):
            del program.variables[before:]
        results += [
            v for v in program.variables[before:]
            if v.dtype == FLOAT64 and isinstance(v.line, Statement) and v.needle.requires_grad
        ]  # fmt: skip
    counts["programs"] += 1
    if not results:
        counts["without a gradient"] += 1
        return
    _compare(program, results[-3:], counts)


def _moderate(variable: Variable) -> bool:
    if variable.dtype not in (FLOAT64, BOOL, *INTEGERS):
        return False  # float32: nothing to take differences of
    return bool((np.abs(variable.array.astype(np.float64)) <= LARGEST).all())


def _compare(program: Program, results: list[Variable], counts: Counter) -> None:
    choices = program.choices
    leaves = [v for v in program.variables if isinstance(v.line, Leaf) and v.dtype == FLOAT64]
    generator = np.random.default_rng(choices.integer(0, 999))
    weights = [generator.uniform(0.5, 1, v.shape) for v in results]
    directions = {id(v): generator.uniform(0.5, 1, v.shape) * generator.choice((-1, 1)) for v in leaves}
    change = choices.pick(CHANGES) if choices.chance(10) else None

    met = {}
    for kept in (True, False):
        needle = _needle_variables(program, leaves)
        total = None
        for v, weight in zip(results, weights):
            weight = Tensor(weight, dtype="float64", device=program.device, requires_grad=False)
            part = ops.sum(needle[id(v)] * weight)
            total = part if total is None else total + part
        if change:
            change(needle[id(choices.pick(leaves))])
        try:
            total.backward(create_graph=kept)
        except GradientError as error:
            if change and "changed in place" in str(error):
                counts["changes told"] += 1
                return
            raise _mismatch(program, results, f"backward, graph {'kept' if kept else 'freed'}: {error}") from None
        grads = [needle[id(v)].grad for v in leaves]
        met[kept] = [np.zeros(v.shape) if g is None else g.numpy() for v, g in zip(leaves, grads)]
        if kept:
            adjoints = [x.grad.numpy() for x in needle.values() if isinstance(x, Tensor) and x.grad is not None]
            steepest = max([1.0, *(np.abs(a).max(initial=0, where=np.isfinite(a)) for a in adjoints)])
    for v, a, b in zip(leaves, met[True], met[False]):
        if not np.allclose(a, b, rtol=0, atol=1e-12 * steepest, equal_nan=True):
            raise _mismatch(program, results, f"gradient of {v}: graph kept {a.tolist()}, freed {b.tolist()}")

    patterns, differences = [], []
    for step in (0, 1, -1, 2, -2):
        value, pattern = _numpy_value(program, results, weights, leaves, directions, step * H)
        patterns.append(pattern)
        differences.append(value)
    if any(not np.array_equal(a, b) for other in patterns[1:] for a, b in zip(patterns[0], other)):
        counts["kinks"] += 1
        return
    if not np.isfinite(differences).all():  # a negative number to a power that was a whole number at the point alone
        counts["undefined"] += 1
        return
    if steepest > STEEPEST:
        counts["too steep"] += 1
        return
    expected = float((8 * (differences[1] - differences[2]) - (differences[3] - differences[4])) / (12 * H))
    simpler = float((differences[1] - differences[2]) / (2 * H))
    derivative = sum(float((g * directions[id(v)]).sum()) for v, g in zip(leaves, met[True]))
    size = sum(v.array.size for v in leaves)
    tolerance = TOLERANCE * steepest * size
    # The errors of the two, of orders H^2 and H^4, are about as e^2 and e^4 where the function is like sin(x e / H).
    if (expected - simpler) ** 2 > tolerance * max(1.0, abs(expected)):
        counts["too curved"] += 1
        return
    counts["compared"] += 1
    if not abs(derivative - expected) <= tolerance:
        gradient = "\n".join(f"# d/d{v}: {g.tolist()}" for v, g in zip(leaves, met[True]))
        raise _mismatch(program, results, f"derivative {derivative!r}, expected {expected!r}\n{gradient}")


def _mismatch(program: Program, results: list[Variable], kind: str) -> Mismatch:
    sources = frozenset().union(*(v.sources for v in results))
    return Mismatch(kind, "backward", program.text(sources, f"# of {', '.join(map(repr, results))}: {kind}"))


# Running a program again


def _needle_variables(program: Program, leaves: list[Variable]) -> dict[int, Any]:
    """All variables anew, by the id of the old one."""
    found: dict[int, Any] = {}
    wanted = {id(v) for v in leaves}
    for v in program.variables:
        if isinstance(v.line, Leaf):
            data = array(v.line.contents, dtype=v.needle.dtype, device=program.device)
            found[id(v)] = Tensor.make_const(data, id(v) in wanted)
        else:
            arguments = replaced(v.line.arguments, lambda x: found[id(x)], lambda foreign: foreign.data)
            found[id(v)] = v.line.of(v.line.operation.needle(*arguments))
    return found


def _numpy_value(program, results, weights, leaves, directions, step: float) -> tuple[np.longdouble, list]:
    """The weighted sum of the results at leaves + step * directions, and on which sides of all kinks that is."""
    found: dict[int, Any] = {}
    pattern: list = []
    wanted = {id(v) for v in leaves}
    with np.errstate(all="ignore"):
        for v in program.variables:
            if id(v) in wanted:
                found[id(v)] = v.line.contents.astype(np.longdouble) + step * directions[id(v)]
            elif isinstance(v.line, Leaf):
                found[id(v)] = v.line.contents
            else:
                operation = v.line.operation
                arguments = replaced(v.line.arguments, lambda x: found[id(x)], _long)
                if operation.pattern:
                    pattern.append(np.asarray(operation.pattern(*arguments)))
                found[id(v)] = v.line.of(operation.formula(*arguments))
        return sum((found[id(v)] * weight).sum() for v, weight in zip(results, weights)), pattern


def _long(foreign: Foreign) -> np.ndarray:
    return np.asarray(foreign.data, np.longdouble)


# What may happen to a leaf between the forward and the backward pass, which then has to say so, or not to mind


def _subtract(leaf: Tensor) -> None:
    with ndl.no_grad():
        leaf -= 0.5


def _assign_data(leaf: Tensor) -> None:
    leaf.data = leaf.data * 3


def _optimizer_step(leaf: Tensor) -> None:
    leaf.grad = ops.ones_like(leaf)
    ndl.optim.SGD([leaf], lr=0.25).step()
    leaf.grad = None


CHANGES = (_subtract, _assign_data, _optimizer_step)
