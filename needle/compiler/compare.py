"""Whether two recorded calls are the same but for live numbers, and if not, where they differ."""

from __future__ import annotations

from typing import Any

from needle.autograd import Tensor
from needle.backend_ndarray.number import Live
from needle.compiler.program import Call, Operand, Place, Scalar
from needle.compiler.recorded import Recorded
from needle.compiler.results import is_one
from needle.compiler.tree import leaves_of


def difference(one: Recorded, later: Recorded) -> str | None:
    """How a later call differs from one before, None if it does not."""
    for call, other in zip(one.calls, later.calls):
        if (found := _call_difference(call, other)) is not None:
            return found
    if len(one.calls) != len(later.calls):
        longer = max(one.calls, later.calls, key=len)
        extra = longer[min(len(one.calls), len(later.calls))]
        return (
            f"{extra.line}: {extra.kernel} in one call and not in the next: expected the same operations in every call"
        )
    for index, constant in one.constants.items():
        new = later.constants[index]
        if new.source is constant.source is not None:
            continue
        if new.array.numpy().tobytes() != constant.array.numpy().tobytes():
            return (
                f"{new.line}: an array of shape {constant.array.shape} is made of other numbers in every call: expected it "
                "as an argument"
            )
    if one.places != later.places or not _is_same_tree(one.tree, later.tree):
        return "it returns other things in one call than in the next: expected Tensors, or the same plain values"
    if len(one.assignments) != len(later.assignments) or not all(
        is_one(a.container, b.container) and is_one(a.key, b.key) and _is_same_tree(a.value, b.value)
        for a, b in zip(one.assignments, later.assignments)
    ):
        return "the gradients and arrays that it sets differ from call to call"
    return None


def _is_same_tree(a: Any, b: Any) -> bool:
    leaves = leaves_of(a), leaves_of(b)
    if len(leaves[0]) != len(leaves[1]):
        return False
    return all(
        x is y or type(x) is type(y) and (isinstance(x, Live) or not isinstance(x, Tensor) and repr(x) == repr(y))
        for x, y in zip(*leaves)
    )


def _call_difference(one: Call, other: Call) -> str | None:
    if one.kernel != other.kernel:
        return (
            f"{one.line}: {one.kernel} in one call, and {other.kernel} at {other.line} in the next: expected the same "
            "operations in every call"
        )
    for a, b in zip(one.operands, other.operands):
        if not _is_equal(a, b):
            return (
                f"{other.line}: {one.kernel} has {_text(a)} in one call and {_text(b)} in the next: expected the same in "
                "every call, or a Tensor that is an argument"
            )
    return None


def _is_equal(a: Operand, b: Operand) -> bool:
    if isinstance(a, Live) or isinstance(b, Live):
        return isinstance(a, Live) and isinstance(b, Live)
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return a.dtype is b.dtype and _is_equal(a.value, b.value)
    return type(a) is type(b) and (a == b or a != a and b != b)


def _text(operand: Operand) -> str:
    if isinstance(operand, Place):
        return f"an array of shape {operand.shape} and dtype {operand.dtype}"
    value = operand.value if isinstance(operand, Scalar) else operand
    return "a number that may change" if isinstance(value, Live) else f"the number {value!r}"
