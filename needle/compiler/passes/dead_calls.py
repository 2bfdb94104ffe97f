"""Dead calls: those whose results nobody looks at."""

from __future__ import annotations

from needle.compiler.passes.uses import CHECKING, is_whole
from needle.compiler.program import Program


def dead_calls(program: Program) -> Program:
    """Goes backwards and keeps the calls that write what is looked at later, by a call or after the program."""
    live = {index for index, memory in enumerate(program.memories) if memory.is_kept}
    kept = []
    for call in reversed(program.calls):
        if call.kernel not in CHECKING and not live & call.writes():
            continue
        kept.append(call)
        for place, is_read, is_written in call.places():
            if is_written and not is_read and not program.memories[place.memory].is_kept and is_whole(program, place):
                live.discard(place.memory)  # what was there before is overwritten
        live |= call.reads()
    return program.with_calls(kept[::-1])
