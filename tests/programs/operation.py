"""A row of the tables: what a statement of a program looks like, and what it has to give."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from needle import ops
from needle.backend_ndarray import elementwise
from tests.programs.agreement import Exactly
from tests.programs.values import Foreign

_NAMES = {"ops": ops, "elementwise": elementwise, "operator": operator}
TENSOR, NDARRAY = "Tensor", "NDArray"


@dataclass(frozen=True)
class Operation:
    """One way to write an operation.

    text: Python, with {0}, {1}, ... for the arguments.
    expected: the same in NumPy, from the same arguments (arrays of Needle's as NumPy's, other arrays and lists as
        Foreign): Exactly, Within, a tuple of those, or a Python object that has to be equal. Raises Refused, or
        NumPy's ValueError or IndexError, where Needle has to raise an error.
    arguments: draws the arguments for a program.
    name: what one of Needle's errors has to name, a regular expression.
    faces: of what arrays it is an operation.
    formula, pattern: for gradients (gradients.py). The result from plain arrays of any floating dtype; and whole
        numbers or bools that are others on the other side of a kink.
    view: whether the result shares memory where NumPy's does, and only there.
    weight: how often it is chosen.
    helpers: functions that `text` names, besides Needle's.
    """

    text: str
    expected: Callable[..., Any]
    arguments: Callable[..., tuple]
    name: str
    faces: tuple[str, ...] = (TENSOR, NDARRAY)
    formula: Callable | None = None
    pattern: Callable | None = None
    view: bool = False
    weight: int = 2
    helpers: dict[str, Callable] = field(repr=False, default_factory=dict)
    needle: Callable = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        count = len(set(re.findall(r"\{(\d)\}", self.text)))
        names = [f"_{i}" for i in range(count)]
        code = f"lambda {', '.join(names)}: {self.text.format(*names)}"
        object.__setattr__(self, "needle", eval(code, {**_NAMES, **self.helpers}))

    def is_named_in(self, message: str) -> bool:
        return re.search(self.name, message, re.IGNORECASE) is not None

    def written(self, arguments: tuple) -> str:
        return self.text.format(*map(written, arguments))


def written(argument: Any) -> str:
    """An argument as it stands in a program's text."""
    if isinstance(argument, list):
        return f"[{', '.join(map(written, argument))}]"
    if isinstance(argument, tuple):
        return f"({''.join(f'{written(item)}, ' for item in argument)})"
    if isinstance(argument, np.ndarray):
        return repr(Foreign(argument))
    if isinstance(argument, (int, float)) and not isinstance(argument, np.generic) and argument < 0:
        return f"({argument})" if argument != -math.inf else "float('-inf')"
    if isinstance(argument, float) and not isinstance(argument, np.generic) and not np.isfinite(argument):
        return f"float('{argument}')"
    if isinstance(argument, np.generic) and argument.dtype.kind in "fV" and not isinstance(argument, np.longdouble):
        return f"np.dtype({argument.dtype.name!r}).type({written(float(argument))})"
    return repr(argument)


def moved(formula: Callable) -> Callable:
    """The expectation of an operation that moves elements: NumPy's result, to the bit."""
    return lambda *arguments: Exactly(formula(*arguments))
