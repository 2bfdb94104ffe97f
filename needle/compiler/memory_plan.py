"""The memory plan: temporaries share one block of memory, each at a place that is free while it is in use."""

from __future__ import annotations

from needle.compiler.program import Program

ALIGNMENT = 64  # bytes, as of the memory pool


def plan(program: Program) -> tuple[int, dict[int, int]]:
    """The size of the block in bytes, and for each temporary where in it it begins.

    A temporary is in use from the first call that names it to the last. The largest are placed first, each at the
    lowest place that is free during all of its life (Pisarchyk and Lee 2020, "greedy by size").
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, call in enumerate(program.calls):
        for place, _, _ in call.places():
            memory = program.memories[place.memory]
            if memory.input is None and not memory.is_kept:
                first.setdefault(place.memory, number)
                last[place.memory] = number
    offsets: dict[int, int] = {}
    placed: list[tuple[int, int, int]] = []  # offset, end, index of the memory: by offset
    size = 0
    for index in sorted(first, key=lambda index: -program.memories[index].nbytes):
        nbytes = -(-program.memories[index].nbytes // ALIGNMENT) * ALIGNMENT
        offset = 0
        for begin, end, other in placed:
            if last[other] < first[index] or last[index] < first[other]:
                continue
            if offset + nbytes <= begin:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append((offset, offset + nbytes, index))
        placed.sort()
        size = max(size, offset + nbytes)
    return size, offsets
