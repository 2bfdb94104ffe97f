"""What a function can reach besides its arguments: the Tensors that it may read, and the values that it depends on.

A recorded program is right only as long as everything that the function read in Python is what it was: the modules that
a model is made of, `training`, the rate of a dropout, a global constant. So the recorder walks from the function along
everything that its code names: closures, globals, attributes of objects and modules, lists and dicts. Two walks tell
what a call has changed; and `State.guards` tells, before each replay, whether anything is different from when the
program was recorded.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType, cpu
from needle.errors import short

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, Device, DType)
MISSING = object()

Container = Any  # a dict, list, tuple, mappingproxy or cell, or any other object, of which attributes are looked at


class Entry(NamedTuple):
    """One thing that was looked at: what `container` has at `key`."""

    path: str
    container: Container
    key: Any
    value: object


class Content(NamedTuple):
    """Something that is looked at as a whole: `describe(value)` was `description`."""

    path: str
    value: Any
    describe: Any
    description: object


class State:
    """What one walk found."""

    def __init__(self) -> None:
        self.names: set[str] = set()  # of globals and attributes, in the code that was looked at
        self.entries: list[Entry] = []
        self.sizes: list[tuple[str, Any, int, tuple[object, ...] | None]] = []  # with the keys of a dict, in order
        self.properties: list[Entry] = []  # that a call may change, and on which it depends before
        self.contents: list[Content] = []
        self.tensors: dict[str, Tensor] = {}  # by path, each once
        self.live_objects: list[Any] = []  # such as optimizers, some of whose attributes are read anew in each call
        self.arrays: list[Entry] = []  # NDArrays that are no Tensor's, such as an optimizer's moments

    def guards(self) -> Guards:
        """Tells whether everything is what it was."""
        return Guards(self)

    def changes(self, later: State) -> Iterator[str]:
        """Says what is different in a later walk."""
        before, after = ({entry.path: entry.value for entry in state.entries} for state in (self, later))
        for path in [*before, *(path for path in after if path not in before)]:
            old, new = before.get(path, MISSING), after.get(path, MISSING)
            if old is MISSING and new is not MISSING:
                yield f"{path} is new"
            elif new is MISSING and old is not MISSING:
                yield f"{path} is gone"
            elif not is_same(old, new):
                are_plain = isinstance(old, PLAIN) and isinstance(new, PLAIN)
                yield f"{path} was {short(old)} and is {short(new)}" if are_plain else f"{path} is another object"
        sizes = {path: (size, keys) for path, _, size, keys in self.sizes}
        for path, _, size, keys in later.sizes:
            if path in sizes and sizes[path][0] != size:
                yield f"{path} had {sizes[path][0]} entries and has {size}"
            elif path in sizes and sizes[path][1] != keys:
                yield f"{path} has its keys in another order"
        contents = {content.path: content.description for content in self.contents}
        for content in later.contents:
            if content.path in contents and contents[content.path] != content.description:
                yield f"{content.path} has changed"


class Behind:
    """What a function returns, as the attribute `value`, for a guard."""

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read

    @property
    def value(self) -> object:
        return self._read()


class Guards:
    """Whether everything that a State has is what it was. The elements of Tensors and NDArrays do not count."""

    def __init__(self, state: State) -> None:
        entries = [(entry.container, entry.key, None if entry.value is MISSING else entry.value,
                    entry.value is MISSING) for entry in state.entries]  # fmt: skip
        self._guards = cpu().kernels.Guards(entries, [size[1:] for size in state.sizes])
        self._contents = [content for content in state.contents if content.describe is not None]

    def hold(self) -> bool:
        """Whether it is so now."""
        return self._guards.hold() and all(
            content.describe(content.value) == content.description for content in self._contents
        )


def held(container: Container, key: Any) -> Any:
    """What a container has at a key, MISSING if nothing."""
    if isinstance(container, (dict, types.MappingProxyType)):
        return container.get(key, MISSING)
    if isinstance(container, types.CellType):
        try:
            return container.cell_contents
        except ValueError:
            return MISSING
    if isinstance(container, (list, tuple)):
        return container[key]
    return getattr(container, key, MISSING)


def put(container: Container, key: Any, value: object) -> None:
    """Makes a container have a value at a key."""
    if isinstance(container, types.CellType):
        container.cell_contents = value
    elif isinstance(container, (list, dict)):
        container[key] = value
    else:
        setattr(container, key, value)


def is_same(a: object, b: object) -> bool:
    """Whether a value is still the same: plain ones by type and value, all others by identity."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, PLAIN):
        return False
    return repr(a) == repr(b)
