"""ReLU after a matrix product: the product's kernel applies it to each tile."""

from __future__ import annotations

from collections import Counter

from needle.compiler.passes.uses import written_once
from needle.compiler.program import Call, Place, Program


def relu(program: Program) -> Program:
    """Joins a `linear` and the `relu` of all of its result, if nothing else reads that."""
    once = written_once(program)
    reads = Counter(place.memory for call in program.calls for place, is_read, _ in call.places() if is_read)
    relus: dict[int, Call] = {}
    for call in program.calls:
        if call.kernel == "relu" and isinstance(call.operands[0], Place):
            relus[call.operands[0].memory] = call
    joined: dict[int, Call] = {}  # by the memory between the two
    gone = set()
    for call in program.calls:
        if call.kernel != "linear" or call.operands[-1] is not False:
            continue
        out = call.operands[3]
        assert isinstance(out, Place)
        after = relus.get(out.memory)
        if after is None or reads[out.memory] != 1 or program.memories[out.memory].is_kept or out.memory not in once:
            continue
        result = after.operands[1]
        assert isinstance(result, Place)
        if after.operands[0] == out and result[1:] == out[1:] and result.memory in once:
            joined[out.memory] = call.with_operands(*call.operands[:3], result, True)
            gone.add(result.memory)
    calls = []
    for call in program.calls:
        if call.kernel == "linear" and isinstance(call.operands[3], Place) and call.operands[3].memory in joined:
            calls.append(joined[call.operands[3].memory])
        elif not (call.kernel == "relu" and call.writes() & gone):
            calls.append(call)
    return program.with_calls(calls)
