"""Copies: what is computed only to be copied is computed where the copy goes."""

from __future__ import annotations

from needle.compiler.passes.lifetimes import Lifetimes
from needle.compiler.passes.uses import are_disjoint, is_elementwise
from needle.compiler.program import Call, Place, Program


def copies(program: Program) -> Program:
    """Drops a copy of the result of an element-wise call that nothing else reads: the call writes there itself.

    Such copies put parts together: `stack` copies each into its part of a larger array. Other kernels are left alone:
    they may add numbers in another order if their result has another layout.
    """
    calls: list[Call | None] = list(program.calls)
    lifetimes = Lifetimes(program)
    for index, call in enumerate(program.calls):
        if call.kernel != "copy":
            continue
        source, target = call.operands
        if not (isinstance(source, Place) and isinstance(target, Place) and source[1:3] == target[1:3]):
            continue  # it converts or fills
        if len(lifetimes.uses(source.memory)) != 2 or program.memories[source.memory].is_kept:
            continue
        writer = lifetimes.uses(source.memory)[0]
        first = calls[writer]
        if first is None or not is_elementwise(first) or first.operands[-1] != source:
            continue
        others = [calls[use] for use in lifetimes.uses(target.memory) if writer <= use < index]
        is_free = bool(lifetimes.uses(target.memory)) and all(
            other is None or _leaves(other, target) for other in others
        )
        if is_free and lifetimes.merge({source.memory: target.memory}):
            calls[writer] = first.with_operands(*first.operands[:-1], target)
            calls[index] = None
    return program.with_calls([call for call in calls if call is not None])


def _leaves(call: Call, array: Place) -> bool:
    """Whether a call neither reads nor writes any of an array's elements."""
    return all(are_disjoint(place, array) for place, _, _ in call.places())
