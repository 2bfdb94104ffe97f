"""Programs: the kernel calls of a function, as data that passes can rewrite, and their text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.kernel_table import KERNELS
from needle.backend_ndarray.number import Live
from needle.backend_ndarray.shape import Shape
from needle.typing import Number


class Place(NamedTuple):
    """An array: a strided view of one of a program's memories."""

    memory: int
    dtype: DType
    shape: Shape
    strides: Shape
    offset: int


class Scalar(NamedTuple):
    """A number as an operand of an element-wise kernel, beside arrays of that dtype."""

    value: Number | Live
    dtype: DType


Instruction: TypeAlias = tuple[Any, ...]  # of the kernel `fused`, see kernel_table.py
Operand: TypeAlias = "Place | Scalar | list[Place] | list[Place | Scalar] | tuple[Instruction, ...] | Number | Live"


class Call(NamedTuple):
    """One call of a kernel. `line` is the line of the user's code that it comes from."""

    kernel: str
    operands: tuple[Operand, ...]
    line: str

    def places(self) -> Iterator[tuple[Place, bool, bool]]:
        """Each array operand, whether it is read and whether it is written."""
        for operand, role in zip(self.operands, KERNELS[self.kernel].operands):
            for place in operand if isinstance(operand, list) else (operand,):
                if isinstance(place, Place):
                    yield place, role.is_read, role.is_written

    def reads(self) -> set[int]:
        """The memories that it reads."""
        return {place.memory for place, is_read, _ in self.places() if is_read}

    def writes(self) -> set[int]:
        """The memories that it writes."""
        return {place.memory for place, _, is_written in self.places() if is_written}


class Memory(NamedTuple):
    """A buffer of a program.

    `input` is where it comes from, or None for one that each run allocates. `is_kept` tells whether its content is
    looked at after the run: a result's, an input's.
    """

    nbytes: int
    input: Source | None
    is_kept: bool


class Source(NamedTuple):
    """Where an input comes from."""

    kind: str  # "argument", "tensor", "grad", "array" or "constant"
    key: Any  # the argument's number, the Tensor, the container and key of an array, or the constant NDArray
    layout: tuple[Any, ...]  # of the array there


@dataclass(frozen=True)
class Program:
    """Kernel calls in order, the memories that their arrays are in, and the arrays that are the results."""

    device: Device | None  # None if there are no calls
    calls: tuple[Call, ...]
    memories: tuple[Memory, ...]
    results: tuple[Place, ...]

    def with_calls(self, calls: list[Call]) -> Program:
        """The same with other calls."""
        return replace(self, calls=tuple(calls))

    def traffic(self) -> int:
        """Bytes that the calls read and write, each array once a call."""
        return sum(
            _nbytes(place) * (is_read + is_written)
            for call in self.calls
            for place, is_read, is_written in call.places()
        )

    def peak_memory(self) -> int:
        """The most bytes of memory allocated at a time if each is allocated and freed by itself, as without a plan."""
        last: dict[int, int] = {}
        for number, call in enumerate(self.calls):
            last |= {place.memory: number for place, _, _ in call.places()}
        held = peak = 0
        seen: set[int] = set()
        for number, call in enumerate(self.calls):
            of_call = {place.memory for place, _, _ in call.places() if self.memories[place.memory].input is None}
            held += sum(self.memories[index].nbytes for index in of_call - seen)
            seen |= of_call
            peak = max(peak, held)
            held -= sum(
                self.memories[index].nbytes
                for index in of_call
                if last[index] == number and not self.memories[index].is_kept
            )
        return peak

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A line for every call: `%3 float32[64,100] = linear @0 float32[64,784], ...  # train.py:12`, @ for inputs."""
        lines = []
        for call in self.calls:
            written, read = [], []
            for operand, role in zip(call.operands, KERNELS[call.kernel].operands):
                text = self._text_of(operand, role.name)
                if not text:
                    continue
                if role.is_written:
                    written.append(text)
                if role.is_read or not role.is_written:
                    read.append(text)
            lines.append((f"{', '.join(written)} = {call.kernel} {', '.join(read)}", call.line))
        width = max((len(text) for text, _ in lines), default=0)
        return "\n".join(f"{text:{min(width, 80)}}  # {line}" for text, line in lines)

    def _text_of(self, operand: Operand, name: str) -> str:
        if isinstance(operand, list):
            texts = [self._text_of(entry, name) for entry in operand]
            return ", ".join(texts) if len(texts) <= 4 else f"{name}: {texts[0]}, ... {len(texts)} arrays"
        if isinstance(operand, tuple) and not isinstance(operand, (Place, Scalar)):  # the instructions of `fused`
            return ", ".join(instruction[0] for instruction in operand)
        if isinstance(operand, Place):
            memory = self.memories[operand.memory]
            sign = "%" if memory.input is None else "@"
            shape = ",".join(map(str, operand.shape))
            return f"{sign}{operand.memory} {operand.dtype}[{shape}]"
        value = operand.value if isinstance(operand, Scalar) else operand
        text = f"live {value.value!r}" if isinstance(value, Live) else repr(value)
        return text if isinstance(operand, Scalar) else f"{name}={text}"


def _nbytes(place: Place) -> int:
    """Bytes of the elements that an array has in memory, a broadcast one only once."""
    return place.dtype.itemsize * math.prod(extent for extent, stride in zip(place.shape, place.strides) if stride)
