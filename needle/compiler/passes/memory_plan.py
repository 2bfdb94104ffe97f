"""The memory plan: temporaries share one block of memory, each at a place that is free while it is in use.

So a run allocates little. The block is for small temporaries; a larger one is in it if it fits in between. Else it has
memory of its own, from the first call that names it to the last, as without a program: what it gives back serves results
that come later, and the peak stays low.
"""

from __future__ import annotations

import bisect
from dataclasses import replace

from needle.compiler.passes.uses import map_places
from needle.compiler.program import Memory, Program

ALIGNMENT = 64  # bytes, as of the memory pool
SMALL = 1 << 14  # bytes
MOST_GAPS = 1 / 8  # of the memory that is needed: as much as the pool loses by rounding up


def memory_plan(program: Program) -> Program:
    """Replaces temporaries by parts of a new memory.

    If the block has too many gaps, all temporaries are in it, and if that has too many, none.
    """
    most = program.peak_memory() * (1 + MOST_GAPS)
    for small in (SMALL, max((memory.nbytes for memory in program.memories), default=0)):
        planned = _planned(program, small)
        if planned.peak_memory() <= most:
            return planned
    return program


def _planned(program: Program, small_size: int) -> Program:
    """Places the largest first, each at the lowest place that is free during all of its life.

    (Pisarchyk and Lee 2020, "greedy by size")
    """
    lifetimes = program.lifetimes()
    sizes = {index: program.memories[index].nbytes for index in lifetimes if not program.memories[index].is_kept}
    by_size = sorted(sizes, key=lambda index: -sizes[index])
    small = [index for index in by_size if sizes[index] <= small_size]
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first call, last call: by offset
    offsets: dict[int, int] = {}
    used = 0
    for index in [*small, *by_size[: len(by_size) - len(small)]]:
        first, last = lifetimes[index]
        nbytes = -(-sizes[index] // ALIGNMENT) * ALIGNMENT
        offset = 0
        for begin, end, other_first, other_last in placed:
            if other_first <= last and first <= other_last:
                if offset + nbytes <= begin:
                    break
                offset = max(offset, end)
        if sizes[index] <= small_size:
            used = max(used, offset + nbytes)
        if offset + nbytes <= used:
            bisect.insort(placed, (offset, offset + nbytes, first, last))
            offsets[index] = offset
    in_block = dict.fromkeys(offsets, len(program.memories))
    calls = tuple(map_places(call, in_block, offsets) for call in program.calls)
    return replace(program, calls=calls, memories=(*program.memories, Memory(used, None, False)))
