"""One exception type per kind of mistake; each is also the built-in type that a caller would expect."""

from __future__ import annotations


class NeedleError(Exception):
    """Whatever Needle raises on purpose."""


class ShapeError(NeedleError, ValueError):
    """Shapes, axes, extents or indices that do not fit the operation."""


class DTypeError(NeedleError, TypeError):
    """Element types that the operation does not take."""


class DeviceError(NeedleError, RuntimeError):
    """A device that is missing, or two devices in one operation."""


class OutOfMemoryError(NeedleError, MemoryError):
    """A device could not allocate; the process goes on."""


class DataError(NeedleError, ValueError):
    """A data file or download that is missing, truncated, altered or malformed."""


class CheckpointError(NeedleError, ValueError):
    """A checkpoint that cannot be read, or that belongs to another model."""


class GradientError(NeedleError, RuntimeError):
    """A gradient that cannot be had: nothing requires one, or the graph is gone."""
