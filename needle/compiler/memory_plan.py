"""The memory plan: temporaries share memory, each at a place that is free while it is in use."""

from __future__ import annotations

import bisect
from typing import NamedTuple

from needle.compiler.program import Program

ALIGNMENT = 64  # bytes, as of the memory pool


class Spot(NamedTuple):
    """Where a temporary is: in the memory of a result or, if `memory` is None, in the block that temporaries have."""

    memory: int | None
    offset: int  # bytes


class _Block:
    """Memory in which temporaries have places."""

    def __init__(self, memory: int | None, nbytes: float, until: float) -> None:
        self.memory = memory
        self.nbytes = nbytes
        self.until = until  # the call before which its temporaries must be dead
        self.used = 0
        self._placed: list[tuple[int, int, int, int]] = []  # offset, end, first call, last call: by offset

    def place(self, nbytes: int, first: int, last: int) -> int | None:
        """The lowest offset that is free from the call `first` to the call `last`, or None."""
        offset = 0
        for begin, end, other_first, other_last in self._placed:
            if other_first <= last and first <= other_last:
                if offset + nbytes <= begin:
                    break
                if end > offset:
                    offset = end
        if offset + nbytes > self.nbytes:
            return None
        bisect.insort(self._placed, (offset, offset + nbytes, first, last))
        self.used = max(self.used, offset + nbytes)
        return offset


def plan(program: Program) -> tuple[int, dict[int, Spot]]:
    """The size of the block for temporaries in bytes, and where each temporary is.

    A temporary is in use from the first call that names it to the last. The largest are placed first, each at the
    lowest place that is free during all of its life (Pisarchyk and Lee 2020, "greedy by size"): in the memory of a
    result that is not written before it is dead, such as a gradient's, or else in the block.
    """
    lifetimes = program.lifetimes()
    temporaries = [index for index in lifetimes if not program.memories[index].is_kept]
    results = [index for index in lifetimes if program.memories[index].is_kept]
    blocks = [_Block(index, program.memories[index].nbytes, lifetimes[index][0]) for index in results]
    blocks.append(_Block(None, float("inf"), float("inf")))
    spots: dict[int, Spot] = {}
    for index in sorted(temporaries, key=lambda index: -program.memories[index].nbytes):
        nbytes = -(-program.memories[index].nbytes // ALIGNMENT) * ALIGNMENT
        first, last = lifetimes[index]
        for block in [block for block in blocks if last < block.until and nbytes <= block.nbytes]:
            offset = block.place(nbytes, first, last)
            if offset is not None:
                spots[index] = Spot(block.memory, offset)
                break
    return blocks[-1].used, spots
