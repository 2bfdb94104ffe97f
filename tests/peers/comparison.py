"""The same call in Needle and in PyTorch, from the same numbers: results, dtypes and gradients side by side.

Operands are NumPy arrays: float64 ones become leaves of the dtype that is compared, others (labels, conditions) are
handed over as they are. What is compared is rounded, so both are held against PyTorch's float64, by which `exact` is
meant: Needle may be off by some units in the last place, or by twice of what PyTorch is off. Where NaN and infinities
stand PyTorch says in the dtype itself, or in float64 (float16 may overflow on the way to a number).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray.dtype import as_dtype

FLOATING = ("float32", "float64", "bfloat16", "float16")
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}
SMALLEST = {"float32": 2.0**-149, "float64": 2.0**-1074, "bfloat16": 2.0**-133, "float16": 2.0**-24}


@dataclass
class Outcome:
    """Arrays, as float64, and names of dtypes: the results, then the gradient of each leaf."""

    names: list[str]
    arrays: list[np.ndarray]
    dtypes: list[str]


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """A float64 array with the values that it has in another dtype; others as they are."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        return array.astype(as_dtype(dtype).numpy).astype(np.float64)


def weights_of(shapes: Sequence[tuple[int, ...]], dtype: str) -> list[np.ndarray]:
    """What each result is weighted with in the sum that is differentiated."""
    generator = np.random.default_rng(1)
    return [rounded(generator.uniform(0.5, 1.5, shape) * generator.choice([-1, 1], shape), dtype) for shape in shapes]


def run_needle(call: Callable, operands: Sequence[np.ndarray], dtype: str, kept: bool, transposed: bool) -> Outcome:
    """kept: whether the graph is kept in the backward pass, which may take other kernels then.

    transposed: every operand is a view of a leaf with its axes in reverse order.
    """
    leaves, arguments = [], []
    for operand in operands:
        if operand.dtype != np.float64:
            arguments.append(Tensor(operand, requires_grad=False))
            continue
        leaf = Tensor(operand.T if transposed else operand, dtype=dtype)
        leaves.append(leaf)
        arguments.append(ops.permute(leaf, range(operand.ndim)[::-1]) if transposed else leaf)
    results = _flat(call(*arguments))
    differentiable = [result for result in results if result.requires_grad]
    if differentiable:
        total = Tensor(0.0, dtype=dtype, requires_grad=False)
        for result, weight in zip(differentiable, weights_of([r.shape for r in differentiable], dtype)):
            total = total + ops.sum(result * Tensor(weight, dtype=result.dtype, requires_grad=False))
        total.backward(create_graph=kept)
    grads = [leaf.grad for leaf in leaves]
    return _outcome(results, leaves, grads, transposed, _from_needle)


def run_torch(call: Callable, operands: Sequence[np.ndarray], dtype: str, transposed: bool = False) -> Outcome:
    """The same by PyTorch."""
    leaves, arguments = [], []
    for operand in operands:
        if operand.dtype != np.float64:
            arguments.append(torch.from_numpy(np.array(operand)))
            continue
        leaf = torch.from_numpy(np.array(operand.T if transposed else operand)).to(getattr(torch, dtype))
        leaves.append(leaf.requires_grad_())
        arguments.append(leaf.permute(tuple(range(operand.ndim))[::-1]) if transposed else leaf)
    results = _flat(call(*arguments))
    differentiable = [result for result in results if result.requires_grad]
    if differentiable:
        weights = weights_of([tuple(r.shape) for r in differentiable], dtype)
        sum((r * torch.from_numpy(np.array(w)).to(r.dtype)).sum() for r, w in zip(differentiable, weights)).backward()
    grads = [leaf.grad for leaf in leaves]
    return _outcome(results, leaves, grads, transposed, _from_torch)


def _flat(results) -> list:
    """The tensors in results, which may be nested tuples of them."""
    if isinstance(results, (Tensor, torch.Tensor)):
        return [results]
    return [tensor for entry in results for tensor in _flat(entry)]


def _from_needle(tensor: Tensor) -> tuple[np.ndarray, str]:
    return tensor.numpy().astype(np.float64), str(tensor.dtype)


def _from_torch(tensor: torch.Tensor) -> tuple[np.ndarray, str]:
    return tensor.detach().to(torch.float64).numpy(), str(tensor.dtype).removeprefix("torch.")


def _outcome(results: list, leaves: list, grads: list, transposed: bool, convert: Callable) -> Outcome:
    """A leaf without gradient has one of zeros."""
    outcome = Outcome([], [], [])
    for index, result in enumerate(results):
        array, dtype = convert(result)
        outcome.names.append(f"result {index}")
        outcome.arrays.append(array)
        outcome.dtypes.append(dtype)
    for index, (leaf, grad) in enumerate(zip(leaves, grads)):
        array, dtype = convert(leaf if grad is None else grad)
        array = np.zeros_like(array) if grad is None else array
        outcome.names.append(f"gradient {index}")
        outcome.arrays.append(array.T if transposed else array)
        outcome.dtypes.append(dtype)
    return outcome


@dataclass(frozen=True)
class Precision:
    """How far off a number may be, in units in the last place: of itself, of the largest one beside it, of 1, and of the
    largest operand.

    The second is for sums. The third is for gradients alone: those that are 1 minus something, or sums of weights. The
    fourth is for results alone: sums whose terms may cancel.
    """

    units: float = 4
    spread: float = 0
    of_one: float = 0
    of_operands: float = 0


def tolerance(exact: np.ndarray, theirs: np.ndarray, dtype: str, precision: Precision) -> np.ndarray:
    """How far off each number may be: by what `precision` says, or by twice of what PyTorch is off."""
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.where(np.isfinite(exact), np.abs(exact), 0.0)
        theirs_off = np.abs(theirs - exact)
        theirs_off = np.where(np.isfinite(theirs_off), theirs_off, 0.0)
        largest = size.max(initial=0)
        by_rounding = precision.units * size + precision.spread * largest + precision.of_one + precision.of_operands
        return EPSILON[dtype] * by_rounding + 2 * theirs_off + SMALLEST[dtype]


def mismatches(ours: np.ndarray, theirs: np.ndarray, exact: np.ndarray, dtype: str, precision: Precision) -> np.ndarray:
    """Where ours is not what it should be. Integers and bools have to be equal."""
    if dtype not in EPSILON:
        return ours != theirs
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    in_range = rounded(exact, dtype)
    right = (ours == in_range) | (np.isnan(ours) & np.isnan(exact))
    with np.errstate(invalid="ignore"):
        close = np.abs(ours - exact) <= tolerance(exact, theirs, dtype, precision)
    return ~(same | right | np.isfinite(ours) & np.isfinite(exact) & close)


def assert_agree(
    ours: Outcome, theirs: Outcome, exact: Outcome, precision: Precision, signed_zeros: bool = False
) -> None:
    """Raises AssertionError that says what differs, with the first few numbers."""
    assert (ours.names, ours.dtypes) == (theirs.names, theirs.dtypes)
    for name, dtype, mine, other, right in zip(ours.names, ours.dtypes, ours.arrays, theirs.arrays, exact.arrays):
        assert mine.shape == other.shape, f"{name}: shape {mine.shape}, PyTorch's {other.shape}"
        of_one, of_operands = (precision.of_one, 0) if name.startswith("gradient") else (0, precision.of_operands)
        allowed = replace(precision, of_one=of_one, of_operands=of_operands)
        wrong = mismatches(mine, other, right, dtype, allowed)
        if signed_zeros and name.startswith("result"):
            wrong |= (mine == 0) & (other == 0) & (np.signbit(mine) != np.signbit(other))
        if wrong.any():
            places = np.argwhere(wrong)
            shown = [f"{tuple(map(int, p))}: {mine[tuple(p)]:.9g}, PyTorch's {other[tuple(p)]:.9g}" for p in places[:6]]
            raise AssertionError(f"{name} ({dtype}) at {len(places)} of {mine.size} places: " + "; ".join(shown))


def compare(
    ours: Callable,
    theirs: Callable,
    operands: Sequence[np.ndarray],
    dtype: str,
    precision: Precision = Precision(),
    signed_zeros: bool = False,
    transposed: bool = False,
) -> None:
    """Asserts that both give the same results and gradients, with the graph kept in Needle's backward pass or freed."""
    operands = [rounded(np.asarray(operand), dtype) for operand in operands]
    if precision.of_operands:
        largest = max(np.abs(operand[np.isfinite(operand)]).max(initial=0) for operand in operands)
        precision = replace(precision, of_operands=precision.of_operands * largest)
    met = run_torch(theirs, operands, dtype, transposed)
    exact = met if dtype == "float64" else run_torch(theirs, operands, "float64", transposed)
    for kept in (False, True):
        assert_agree(run_needle(ours, operands, dtype, kept, transposed), met, exact, precision, signed_zeros)


torch.set_num_threads(1)  # operands are small
