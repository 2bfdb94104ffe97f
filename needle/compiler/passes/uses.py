"""What a program does with each memory, which the passes ask."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from needle.backend_ndarray.kernel_table import COMPARISON, COPY, ELEMENTWISE, KERNELS
from needle.backend_ndarray.shape import Shape, dense_strides_like, remembered
from needle.compiler.program import Call, Place, Program, Scalar

# Kernels that raise an error for some values of their operands, so that they count even if nobody reads their results.
CHECKING = frozenset({"gather", "scatter_add", "crop_images", "softmax_cross_entropy"})


def is_elementwise(call: Call) -> bool:
    """Whether a call computes each element of its one result from elements at the same place, and from numbers."""
    if KERNELS[call.kernel].kind not in (COPY, ELEMENTWISE, COMPARISON) or call.kernel == "fused":
        return False
    *inputs, out = call.operands
    return isinstance(out, Place) and all(
        isinstance(operand, Scalar) or isinstance(operand, Place) and operand.shape in (out.shape, ())
        for operand in inputs
    )


def are_disjoint(a: Place, b: Place) -> bool:
    """Whether two arrays surely have no element in common: they are in different memories, or parts of a larger array.

    Together, such parts are an array with one more axis, along which they are `distance` elements apart. In it each
    stride steps over everything that smaller strides reach.
    """
    if a.memory != b.memory:
        return True
    if a[1:4] != b[1:4]:  # dtype, shape, strides
        return False
    distance = abs(a.offset - b.offset)
    reach = 0
    for stride, extent in sorted([(distance, 2), *zip(a.strides, a.shape)]):
        if extent > 1 and stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True


def is_whole(program: Program, place: Place) -> bool:
    """Whether an array is all of its memory, in any order of its axes."""
    return (
        place.offset == 0
        and math.prod(place.shape) * place.dtype.itemsize == program.memories[place.memory].nbytes
        and _is_dense(place.shape, place.strides)
    )


@remembered
def _is_dense(shape: Shape, strides: Shape) -> bool:
    dense = dense_strides_like(shape, strides)
    return all(extent == 1 or stride == step for extent, stride, step in zip(shape, strides, dense))


def written_once(program: Program) -> set[int]:
    """The memories that hold the same from the one call that writes them, as a whole, to the end of the program.

    Inputs that no call writes are among them.
    """
    writes = Counter(memory for call in program.calls for memory in call.writes())
    once = {index for index, memory in enumerate(program.memories) if memory.input is not None and not writes[index]}
    for call in program.calls:
        for place, is_read, is_written in call.places():
            is_input = program.memories[place.memory].input is not None
            if is_written and not is_read and not is_input and writes[place.memory] == 1 and is_whole(program, place):
                once.add(place.memory)
    return once


def map_places(call: Call, memories: Mapping[int, int], offsets: Mapping[int, int] = MappingProxyType({})) -> Call:
    """The same call with other memories, in which what was in one begins at its offset in bytes, by default 0."""
    if memories.keys().isdisjoint([place.memory for place, _, _ in call.places()]):
        return call

    def moved(operand: Any) -> Any:
        if isinstance(operand, Place):
            offset = operand.offset + offsets.get(operand.memory, 0) // operand.dtype.itemsize
            return operand._replace(memory=memories.get(operand.memory, operand.memory), offset=offset)
        return [moved(entry) for entry in operand] if isinstance(operand, list) else operand

    return call.with_operands(*map(moved, call.operands))
