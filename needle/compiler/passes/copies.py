"""Copies: what is computed only to be copied is computed where the copy goes."""

from __future__ import annotations

from collections import defaultdict

from needle.compiler.passes.uses import are_disjoint, is_elementwise
from needle.compiler.program import Call, Place, Program


def copies(program: Program) -> Program:
    """Drops a copy of the result of an element-wise call that nothing else reads: the call writes there itself.

    Such copies put parts together: `stack` copies each into its part of a larger array. Other kernels are left alone:
    they may add numbers in another order if their result has another layout.
    """
    calls: list[Call | None] = list(program.calls)
    uses: defaultdict[int, list[int]] = defaultdict(list)  # by memory: the calls that name it
    for index, call in enumerate(program.calls):
        for memory in call.reads() | call.writes():
            uses[memory].append(index)
    for index, call in enumerate(program.calls):
        if call.kernel != "copy":
            continue
        source, target = call.operands
        if not (isinstance(source, Place) and isinstance(target, Place) and source[1:3] == target[1:3]):
            continue  # it converts or fills
        if any(program.memories[place.memory].input is not None for place in (source, target)):
            continue
        if program.memories[source.memory].is_kept or len(uses[source.memory]) != 2:
            continue
        before = uses[source.memory][0]
        first = calls[before]
        if first is None or not is_elementwise(first) or first.operands[-1] != source:
            continue
        between = [calls[use] for use in uses[target.memory] if before <= use < index]
        if all(other is None or _leaves(other, target) for other in between):
            calls[before] = first.with_operands(*first.operands[:-1], target)
            calls[index] = None
            uses[target.memory].append(before)
            uses[target.memory].remove(index)
    without = program.with_calls([call for call in calls if call is not None])
    return without if without.peak_memory() <= program.peak_memory() else program


def _leaves(call: Call, array: Place) -> bool:
    """Whether a call neither reads nor writes any of an array's elements."""
    return all(are_disjoint(place, array) for place, _, _ in call.places())
