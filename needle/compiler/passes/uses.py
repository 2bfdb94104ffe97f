"""What a program does with each memory, which the passes ask."""

from __future__ import annotations

from collections import Counter
from typing import Any

from needle.backend_ndarray.shape import compact_strides
from needle.compiler.program import Call, Place, Program

# Kernels that raise an error for some values of their operands, so that they count even if nobody reads their results.
CHECKING = frozenset({"gather", "scatter_add", "crop_images", "softmax_cross_entropy"})


def count_writes(program: Program) -> Counter[int]:
    """How many calls write each memory."""
    return Counter(memory for call in program.calls for memory in call.writes())


def is_whole(program: Program, place: Place) -> bool:
    """Whether an array is all of its memory, in any order of its axes."""
    memory = program.memories[place.memory]
    order = sorted(range(len(place.shape)), key=lambda axis: -place.strides[axis])
    shape = tuple(place.shape[axis] for axis in order if place.shape[axis] != 1)
    strides = tuple(place.strides[axis] for axis in order if place.shape[axis] != 1)
    size = 1
    for extent in place.shape:
        size *= extent
    return size * place.dtype.itemsize == memory.nbytes and place.offset == 0 and strides == compact_strides(shape)


def written_once(program: Program) -> set[int]:
    """The memories that hold the same from the one call that writes them, as a whole, to the end of the program.

    Inputs that no call writes are among them.
    """
    writes = count_writes(program)
    once = {i for i, memory in enumerate(program.memories) if memory.input is not None and not writes[i]}
    for call in program.calls:
        for place, is_read, is_written in call.places():
            if (
                is_written
                and not is_read
                and writes[place.memory] == 1
                and program.memories[place.memory].input is None
            ):
                if is_whole(program, place):
                    once.add(place.memory)
    return once


def map_places(call: Call, memories: dict[int, int]) -> Call:
    """The same call with other memories."""

    def moved(operand: Any) -> Any:
        if isinstance(operand, Place):
            return operand._replace(memory=memories.get(operand.memory, operand.memory))
        return [moved(entry) for entry in operand] if isinstance(operand, list) else operand

    return call._replace(operands=tuple(moved(operand) for operand in call.operands))
