"""One exception type per kind of mistake; each also derives from the built-in type that a caller would expect."""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DTypeError",
    "GradientError",
    "NeedleError",
    "OutOfMemoryError",
    "ShapeError",
]


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
