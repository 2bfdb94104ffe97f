"""Numbers to compare on, as float64 arrays: a DRAW makes one from a generator, a shape and a dtype."""

from __future__ import annotations

import numpy as np

from needle.backend_ndarray.dtype import as_dtype

NAN, INF = np.nan, np.inf

Generator = np.random.Generator
Shape = tuple[int, ...]


def normal(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    return generator.normal(size=shape)


def positive(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    return generator.uniform(0.1, 3, shape)


def ties(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """Few values, so that many are equal, and zeros of both signs."""
    return generator.choice([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0], shape)


def nan(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """One in eight is NaN."""
    return np.where(generator.random(shape) < 0.125, NAN, generator.normal(size=shape))


def infinite(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """One in eight is infinite."""
    return np.where(generator.random(shape) < 0.125, generator.choice([INF, -INF], shape), generator.normal(size=shape))


def large(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """Squares and their sums are large, too, and cubes beyond the range."""
    return generator.normal(size=shape) * {"float16": 20.0, "float64": 1e150}.get(dtype, 1e17)


def small(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """Close to zero, but normal numbers."""
    return generator.normal(size=shape) * {"float16": 1e-3, "float64": 1e-150}.get(dtype, 1e-17)


def far_apart(generator: Generator, shape: Shape, dtype: str) -> np.ndarray:
    """Of many sizes."""
    return generator.normal(size=shape) * 10.0 ** generator.integers(-3, 3, shape)


DRAWS = {draw.__name__: draw for draw in (normal, ties, nan, infinite, large, small, far_apart)}
FINITE = ("normal", "ties", "small", "far_apart")


def specials(dtype: str) -> np.ndarray:
    """Values at which functions do something particular."""
    limits = np.finfo(as_dtype(dtype).numpy) if dtype != "bfloat16" else np.finfo(np.float32)
    largest = 3.0e38 if dtype == "bfloat16" else float(limits.max)
    tiny = float(limits.tiny)
    numbers = [0.0, 0.5, 1.0, 2.0, 3.0, 12.0, 100.0, largest, tiny, tiny / 64, INF]
    return np.array([NAN, *numbers, *(-number for number in numbers)])
