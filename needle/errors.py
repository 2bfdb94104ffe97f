"""One exception type per kind of mistake; each also derives from the built-in type that a caller would expect."""

from __future__ import annotations

import functools
import math
import os
import sys

import numpy as np

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DTypeError",
    "GradientError",
    "JitError",
    "NeedleError",
    "OutOfMemoryError",
    "ShapeError",
]

_PACKAGE = os.path.dirname(__file__) + os.sep


class NeedleError(Exception):
    """The base class of Needle's own exceptions."""


class ShapeError(NeedleError, ValueError):
    """Shapes, axes, extents or indices that do not fit the operation."""


class DTypeError(NeedleError, TypeError):
    """Element types that the operation does not support."""


class DeviceError(NeedleError, RuntimeError):
    """A device that is missing, or two devices in one operation."""


class OutOfMemoryError(NeedleError, MemoryError):
    """A device could not allocate memory; the process can continue."""


class DataError(NeedleError, ValueError):
    """A data file or download that is missing, truncated, altered or malformed."""


class CheckpointError(NeedleError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another model."""


class GradientError(NeedleError, RuntimeError):
    """A gradient that cannot be computed, for example because nothing requires one or the graph has been freed."""


class JitError(NeedleError, RuntimeError):
    """A function that needle.jit cannot replay, because a replay would not do what a call of the function does."""


def short(value: object, most: int = 60) -> str:
    """Describes a value for an error message: the value itself if it is short, else its type."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and abs(value) >= 10**40:  # repr raises for very large ones
        return f"a number of {math.floor(math.log10(abs(value))) + 1} digits"
    if isinstance(value, (tuple, list)) and len(value) <= 10:
        entries = ", ".join(short(entry) for entry in value)
        text = f"[{entries}]" if isinstance(value, list) else f"({entries}{',' * (len(value) == 1)})"
    elif value is None or value is Ellipsis or isinstance(value, (int, float, complex, str, bytes, type)):
        text = repr(value)
    else:
        text = None
    if text is not None and len(text) <= most:
        return text
    name = type(value).__name__
    kind = f"{'an' if name[:1] in 'AEIOUaeiou' or name == 'NDArray' else 'a'} {name}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return kind if type(shape) is not tuple or dtype is None else f"{kind} of shape {shape} and dtype {dtype}"


def user_line() -> str:
    """The innermost line of the running program that is not Needle's: "train.py:12"."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PACKAGE) and (outer := frame.f_back) is not None:
        frame = outer
    return _line(frame.f_code.co_filename, frame.f_lineno)


@functools.lru_cache(maxsize=4096)  # recorders ask for it at every kernel call
def _line(path: str, number: int) -> str:
    return f"{os.path.basename(path)}:{number}"
