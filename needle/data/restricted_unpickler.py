"""Reads pickles of NumPy arrays and plain values, such as CIFAR-10's, without executing anything from the file.

A pickle is a program for a stack machine with instructions to import and call anything: `pickle.load` runs whatever the
file says. This module is a separate stack machine for the part of that language that data needs. It never imports or
calls anything that a file names. It recognizes the seven names in `_NAMES`, with which pickles describe arrays, and
does what they stand for itself, after checks. Everything else is a DataError.

It supports the binary protocols 2 to 5 of Python 2 and 3. A Python 2 `str` becomes bytes. Memory use stays within a
small multiple of the file's size. Python's `pickletools` documents the instruction set.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from needle.errors import DataError

_MAX_FILE_BYTES = 1 << 28
_MAX_INSTRUCTIONS = 4_000_000
_MAX_EXPANSION = 4  # bytes of arrays and re-encoded strings created, per byte of the file
_DTYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_NAMES = {
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",  # NumPy 1
    "numpy._core.multiarray._reconstruct",  # NumPy 2
    "numpy.core.numeric._frombuffer",  # protocol 5
    "numpy._core.numeric._frombuffer",
    "_codecs.encode",  # how Python 3 writes bytes in protocol 2
}


def load(path: str | os.PathLike[str]) -> Any:
    """The value pickled in the file `path`: None, bool, int, float, str, bytes, list, tuple, dict, np.ndarray."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {_MAX_FILE_BYTES} bytes, which no data file read here is")
    return loads(data, str(path))


def loads(data: bytes, name: str = "pickle") -> Any:
    """The value pickled in `data`; errors call it `name`."""
    machine = _Machine(data)
    try:
        return machine.run()
    except _Refused as refused:
        raise DataError(f"{name}: {refused} (at byte {machine.position})") from None
    except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
        raise DataError(f"{name}: not a well-formed pickle (at byte {machine.position})") from error


class _Refused(Exception):
    """An error in the pickle; the message says what is wrong."""


@dataclass(frozen=True)
class _Name:
    """A name that the pickle refers to, in place of the object it names."""

    text: str


@dataclass
class _DType:
    """A dtype: its code, such as "u1", and its byte order, which a later BUILD instruction sets."""

    code: str
    order: str = "|"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Machine:
    """The stack machine. MARK sets the stack aside and begins a new one, which a list instruction consumes whole."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.allowance = _MAX_EXPANSION * len(data)

    def run(self) -> Any:
        for _ in range(_MAX_INSTRUCTIONS):
            opcode = self.take(1)
            if opcode == b".":
                return self.finish()
            instruction = _INSTRUCTIONS.get(opcode)
            if instruction is None:
                raise _Refused(f"pickle instruction {opcode!r} is none of those that plain values and arrays need")
            instruction(self)
        raise _Refused(f"more than {_MAX_INSTRUCTIONS} pickle instructions")

    def finish(self) -> Any:
        value = self.stack.pop()
        if self.stack or self.outer_stacks:
            raise _Refused("the pickle ends with values left over")
        if self.position != len(self.data):
            raise _Refused(f"{len(self.data) - self.position} bytes follow the end of the pickle")
        return value

    # Reading the bytes of instructions.

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise _Refused(f"the file is truncated: {size} bytes expected, {len(self.data) - start} left")
        return self.data[start : self.position]

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise _Refused("the file is truncated within a name")
        return self.take(end + 1 - self.position)[:-1].decode()

    def spend(self, size: int) -> None:
        """Accounts for `size` created bytes: a file of a few bytes must not allocate gigabytes."""
        self.allowance -= size
        if self.allowance < 0:
            raise _Refused(f"asks for more than {_MAX_EXPANSION} times its own size in memory")

    # Instructions that do more than push a value.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_marked(self) -> list[Any]:
        marked, self.stack = self.stack, self.outer_stacks.pop()
        return marked

    def push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise _Refused("appends to what is no list")
        self.stack[-1].extend(values)

    def update(self, keys_and_values: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise _Refused("sets items of what is no dict")
        keys, values = keys_and_values[::2], keys_and_values[1::2]
        # Only strings: hashing tuples nested a million deep would overflow the interpreter's stack.
        if len(keys) != len(values) or not all(type(key) in (str, bytes) for key in keys):
            raise _Refused("a dict key is no string")
        self.stack[-1].update(zip(keys, values))

    def push_name(self, module: Any, name: Any) -> None:
        text = f"{module}.{name}" if type(module) is type(name) is str else "something unnamed"
        if text not in _NAMES:
            raise _Refused(f"refers to {text}; only NumPy arrays and plain values are read, and nothing is run")
        self.push(_Name(text))

    def call(self, function: Any, arguments: Any) -> None:
        """REDUCE: does what `function(*arguments)` means in pickles of arrays."""
        name = function.text.rpartition(".")[2] if type(function) is _Name else None
        match name, arguments:
            case "_reconstruct", (_Name(text="numpy.ndarray"), (0,), b"b" | "b"):
                self.push(np.empty(0, np.int8))  # filled by the BUILD that follows
            case "dtype", (bytes() | str() as code, *_):
                self.push(_DType(self.dtype_code(code)))
            case "encode", (str() as text, "latin1"):
                self.spend(len(text))
                self.push(text.encode("latin1"))
            case "_frombuffer", (bytes() as buffer, _DType() as dtype, tuple() as shape, "C" | "F" as order):
                self.check_array(shape, dtype.numpy(), buffer)
                self.push(np.frombuffer(buffer, dtype.numpy()).reshape(shape, order=order))
            case _:
                raise _Refused("makes something other than a NumPy array")

    def build(self, state: Any) -> None:
        """BUILD: completes the array or dtype on top of the stack."""
        match self.stack[-1], state:
            case np.ndarray(size=0) as array, (1, tuple() as shape, _DType() as dtype, bool(), bytes() as data):
                self.check_array(shape, dtype.numpy(), data)
                self.spend(len(data))
                array.__setstate__((1, shape, dtype.numpy(), state[3], data))
            case _DType() as dtype, (3, bytes() | str() as order, None, None, None, -1, -1, 0):
                dtype.order = order.decode("latin1") if isinstance(order, bytes) else order
                if dtype.order not in ("<", ">", "|", "="):
                    raise _Refused(f"byte order {dtype.order!r} of an array")
            case _:
                raise _Refused("makes something other than a NumPy array of numbers")

    def dtype_code(self, code: bytes | str) -> str:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if text not in _DTYPES:
            raise _Refused(f"array of dtype {text[:20]!r}, which is no plain number")
        return text

    def check_array(self, shape: tuple[Any, ...], dtype: np.dtype[Any], buffer: bytes) -> None:
        if len(shape) > 32 or not all(type(length) is int and length >= 0 for length in shape):
            raise _Refused("array with a malformed shape")
        if math.prod(shape) * dtype.itemsize != len(buffer):
            raise _Refused(f"array of shape {shape} and dtype {dtype} with {len(buffer)} bytes of data")


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], object]] = {
    # Program frame.
    b"\x80": lambda m: m.number("B"),  # PROTO
    b"\x95": lambda m: m.number("<Q"),  # FRAME
    # Plain values.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),  # NEWTRUE
    b"\x89": lambda m: m.push(False),  # NEWFALSE
    b"K": lambda m: m.push(m.number("B")),  # BININT1
    b"M": lambda m: m.push(m.number("<H")),  # BININT2
    b"J": lambda m: m.push(m.number("<i")),  # BININT
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("B")), "little", signed=True)),  # LONG1
    b"G": lambda m: m.push(m.number(">d")),  # BINFLOAT
    # Strings: of Python 2, bytes, text.
    b"U": lambda m: m.push(m.take(m.number("B"))),  # SHORT_BINSTRING
    b"T": lambda m: m.push(m.take(m.number("<I"))),  # BINSTRING
    b"C": lambda m: m.push(m.take(m.number("B"))),  # SHORT_BINBYTES
    b"B": lambda m: m.push(m.take(m.number("<I"))),  # BINBYTES
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),  # BINBYTES8
    b"\x96": lambda m: m.push(m.take(m.number("<Q"))),  # BYTEARRAY8
    b"\x8c": lambda m: m.push(m.take(m.number("B")).decode()),  # SHORT_BINUNICODE
    b"X": lambda m: m.push(m.take(m.number("<I")).decode()),  # BINUNICODE
    # Containers.
    b"(": _Machine.mark,
    b")": lambda m: m.push(()),  # EMPTY_TUPLE
    b"\x85": lambda m: m.push_tuple(1),
    b"\x86": lambda m: m.push_tuple(2),
    b"\x87": lambda m: m.push_tuple(3),
    b"t": lambda m: m.push(tuple(m.pop_marked())),  # TUPLE
    b"]": lambda m: m.push([]),  # EMPTY_LIST
    b"a": lambda m: m.extend([m.stack.pop()]),  # APPEND
    b"e": lambda m: m.extend(m.pop_marked()),  # APPENDS
    b"}": lambda m: m.push({}),  # EMPTY_DICT
    b"s": lambda m: m.update([m.stack.pop(-2), m.stack.pop()]),  # SETITEM
    b"u": lambda m: m.update(m.pop_marked()),  # SETITEMS
    # The memo of earlier values.
    b"q": lambda m: m.memo.__setitem__(m.number("B"), m.stack[-1]),  # BINPUT
    b"r": lambda m: m.memo.__setitem__(m.number("<I"), m.stack[-1]),  # LONG_BINPUT
    b"\x94": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),  # MEMOIZE
    b"h": lambda m: m.push(m.memo[m.number("B")]),  # BINGET
    b"j": lambda m: m.push(m.memo[m.number("<I")]),  # LONG_BINGET
    # Arrays.
    b"c": lambda m: m.push_name(m.line(), m.line()),  # GLOBAL
    b"\x93": lambda m: m.push_name(m.stack.pop(-2), m.stack.pop()),  # STACK_GLOBAL
    b"R": lambda m: m.call(m.stack.pop(-2), m.stack.pop()),  # REDUCE
    b"b": lambda m: m.build(m.stack.pop()),  # BUILD
}
