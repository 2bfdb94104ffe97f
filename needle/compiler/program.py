"""Programs: the kernel calls of a function, as data that passes can rewrite, and their text."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.kernel_table import KERNELS
from needle.backend_ndarray.number import Live
from needle.backend_ndarray.shape import Shape, remembered
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


class Call:
    """One call of a kernel, which never changes. `line` is the line of the user's code that it comes from."""

    __slots__ = ("kernel", "operands", "line", "_places", "_reads", "_writes")

    def __init__(self, kernel: str, operands: tuple[Operand, ...], line: str) -> None:
        self.kernel = kernel
        self.operands = operands
        self.line = line
        # What the methods return, once they were asked: passes ask again and again.
        self._places: list[tuple[Place, bool, bool]] | None = None
        self._reads: set[int] | None = None
        self._writes: set[int] | None = None

    def places(self) -> list[tuple[Place, bool, bool]]:
        """Each array operand, whether it is read and whether it is written."""
        if self._places is None:
            self._places = [
                (place, role.is_read, role.is_written)
                for operand, role in zip(self.operands, KERNELS[self.kernel].operands)
                for place in (operand if isinstance(operand, list) else (operand,))
                if isinstance(place, Place)
            ]
        return self._places

    def reads(self) -> set[int]:
        """The memories that it reads."""
        if self._reads is None:
            self._reads = {place.memory for place, is_read, _ in self.places() if is_read}
        return self._reads

    def writes(self) -> set[int]:
        """The memories that it writes."""
        if self._writes is None:
            self._writes = {place.memory for place, _, is_written in self.places() if is_written}
        return self._writes

    def with_operands(self, *operands: Operand) -> Call:
        """The same call with other operands."""
        return Call(self.kernel, operands, self.line)


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

    kind: str  # "argument", "tensor", "grad", "array", "constant" or, if a NumPy array is read anew, "host array"
    key: Any  # the argument's number, the Tensor, the container and key of an array, or the constant NDArray
    layout: tuple[Any, ...]  # of the array there

    def location(self) -> tuple[Any, ...]:
        """Where the array is: a container, the key in it, an attribute of what is there, and the layout.

        No container stands for the list of arguments.
        """
        key = self.key
        location: tuple[Any, ...]
        if self.kind == "argument":
            location = None, key, None
        elif self.kind == "grad":
            location = (key, "grad", None) if isinstance(key, Tensor) else (None, key.index, "grad")  # or an Argument
        elif self.kind == "array":
            location = *key, None
        else:  # the Tensor or the constant
            location = (key,), 0, None
        return *location, self.layout


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
            _elements(place.shape, place.strides) * place.dtype.itemsize * (is_read + is_written)
            for call in self.calls
            for place, is_read, is_written in call.places()
        )

    def lifetimes(self) -> dict[int, tuple[int, int]]:
        """The first and the last call that names each memory that a run allocates, in the order of the first ones."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, call in enumerate(self.calls):
            for place, _, _ in call.places():
                if self.memories[place.memory].input is None:
                    first.setdefault(place.memory, number)
                    last[place.memory] = number
        return {memory: (number, last[memory]) for memory, number in first.items()}

    def peak_memory(self) -> int:
        """The most bytes of memory allocated at a time if each is allocated and freed by itself, as without a plan."""
        growth = [0] * (len(self.calls) + 1)  # at each call
        for index, (first, last) in self.lifetimes().items():
            memory = self.memories[index]
            growth[first] += memory.nbytes
            if not memory.is_kept:
                growth[last + 1] -= memory.nbytes
        return max(itertools.accumulate(growth))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A line for every call: `%3 float32[64,100] = linear @0 float32[64,784], ...  # train.py:12`, @ for inputs.

        `%3+640` is an array that begins at element 640 of a memory.
        """
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
            offset = f"+{operand.offset}" if operand.offset else ""
            return f"{sign}{operand.memory}{offset} {operand.dtype}[{shape}]"
        value = operand.value if isinstance(operand, Scalar) else operand
        text = f"live {value.value!r}" if isinstance(value, Live) else repr(value)
        return text if isinstance(operand, Scalar) else f"{name}={text}"


@remembered
def _elements(shape: Shape, strides: Shape) -> int:
    """How many elements an array has in memory, a broadcast one only once."""
    return math.prod(extent for extent, stride in zip(shape, strides) if stride)
