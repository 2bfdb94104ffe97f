"""The walk from a function to everything that it can reach, see state.py."""

from __future__ import annotations

import argparse
import collections
import contextvars
import functools
import gc
import os
import random
import sys
import threading
import types
import weakref
from collections.abc import ItemsView, KeysView, Mapping, Set, ValuesView
from typing import Any

import numpy as np

from needle.amp import GradScaler
from needle.autograd import Op, Tensor, Value
from needle.backend_ndarray import NDArray
from needle.compiler.iterators import is_built_in_iterator, position
from needle.compiler.state import MISSING, PLAIN, Behind, Container, Content, Entry, State, held
from needle.errors import short
from needle.nn import Module
from needle.optim import Optimizer
from needle.optim.schedule import Schedule

MOST_ENTRIES = 10_000  # of a list, tuple or dict; of a longer one only the length is looked at
MOST_BYTES = 1 << 20  # of a NumPy array that is compared before each replay; a larger one is not looked at

_OPAQUE_PACKAGES = frozenset({"needle", "numpy", "ml_dtypes", "absl", *sys.stdlib_module_names} - {"__main__"})
_ENDS = (*PLAIN, NDArray, types.BuiltinFunctionType)  # nothing is reached from these
_WRAPPERS: tuple[tuple[Any, tuple[str, ...]], ...] = (  # and what they lead to
    (types.MethodType, ("__func__", "__self__")),
    (functools._lru_cache_wrapper, ("__wrapped__",)),
    ((staticmethod, classmethod), ("__func__",)),
    (property, ("fget",)),
    (functools.cached_property, ("func",)),
    (collections.UserDict, ("data",)),
    (collections.ChainMap, ("maps",)),
)
_VIEWS = (types.MappingProxyType, KeysView, ValuesView, ItemsView)
_OPEN = (Module, Optimizer, Schedule, GradScaler, argparse.Namespace, types.SimpleNamespace)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)


def reach(roots: Mapping[str, object], known_names: Set[str] = frozenset()) -> State:
    """Walks from objects, given by the name that paths begin with.

    known_names: those that an earlier walk found, which need not be found again.
    """
    names = set(known_names)
    while True:  # until no more names turn up in code that these names lead to
        walk = _Walk(names, roots.keys())
        for path, root in roots.items():
            walk.visit(path, root)
        for name in names & sys.modules.keys():  # that an import within a function names
            walk.visit(name, sys.modules[name])
        if walk.names <= names:
            walk.state.names = names
            return walk.state
        names |= walk.names


class _Walk:
    def __init__(self, names: set[str], roots: Set[str]) -> None:
        self._roots = roots
        self.known_names = names  # that code was found to name, of globals and attributes
        self.names: set[str] = set()
        self.state = State()
        self._seen: dict[int, object] = {}
        self._paths: collections.Counter[str] = collections.Counter()

    def visit(self, path: str, value: object) -> None:
        if isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType):
            value = value.__self__  # what a method is bound to
        if isinstance(value, _ENDS) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, Tensor):
            self.state.tensors[path] = value
            for name in ("requires_grad", "op"):
                self._look(f"{path}.{name}", value, name)
        elif isinstance(value, (Value, Op)):
            pass
        elif hasattr(type(value), "jitted"):
            self.visit(path, value.jitted)  # type: ignore[attr-defined]  # a JitFunction
        elif value is os.environ or value is os.getenv:
            self._visit_items("os.environ", os.environ._data)  # type: ignore[attr-defined]
        elif isinstance(value, types.FunctionType):
            self._visit_function(path, value)
        elif isinstance(value, (list, tuple, dict, collections.deque)):
            self._visit_items(path, value)
        elif isinstance(value, types.ModuleType):
            self._visit_module(path, value)
        elif isinstance(value, type):
            self._visit_class(path, value)
        elif isinstance(value, _OPEN):
            self._visit_object(path, value)
        elif names := next((names for cls, names in _WRAPPERS if isinstance(value, cls)), None):
            for name in names:
                self.visit(path if name != "__self__" else f"{path}.__self__", getattr(value, name))
        elif isinstance(value, functools.partial):
            self.visit(path, value.func)
            self._visit_items(f"{path}.args", value.args)
            self._visit_items(f"{path}.keywords", value.keywords)
        elif isinstance(value, (set, frozenset)):
            self._look_at_content(path, value, frozenset)
        elif isinstance(value, np.ndarray):
            if value.nbytes <= MOST_BYTES:
                self._look_at_content(path, value, _array_content)
        elif isinstance(value, bytearray):
            self._look_at_content(path, value, bytes)
        elif isinstance(value, _VIEWS):
            for viewed in gc.get_referents(value):
                self.visit(path, viewed)
        elif isinstance(value, contextvars.ContextVar):
            self._look(f"{path}.get()", Behind(functools.partial(value.get, None)), "value")
        elif isinstance(value, threading.local):
            self._look(f"the number of attributes of {path}", Behind(lambda: len(vars(value))), "value")
            for name in sorted(self.known_names & vars(value).keys()):
                self._look(f"{path}.{name}", value, name)  # not in vars(value), which each thread has its own of
        elif isinstance(value, weakref.ref):
            self._look_at_content(path, value, functools.partial(_referent, self.known_names))
        elif is_built_in_iterator(value):
            self._look_at_content(path, value, position, is_guarded=False)
        elif isinstance(value, _GENERATORS):
            self._look_at_content(path, value, _generator_state, is_guarded=False)
        elif not _is_opaque(type(value).__module__):
            self._visit_object(path, value)
        elif not _is_ours(type(value).__module__) and hasattr(value, "__dict__"):
            self._visit_attributes(path, vars(value))

    def _visit_function(self, path: str, function: types.FunctionType) -> None:
        if _is_opaque(function.__module__ or ""):
            return
        if hasattr(function, "__wrapped__"):
            self.visit(path, function.__wrapped__)
        for name in sorted(set(function.__code__.co_names) - function.__globals__.keys()):  # a global may appear
            self.state.entries.append(Entry(f"the global {name}", function.__globals__, name, MISSING))
        self._look(f"{path}.__code__", function, "__code__")
        names = _names_in(function.__code__)
        self.names |= names
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            self._look(name, cell, None)
        for name in sorted(names):
            if name in function.__globals__:
                self._look(name, function.__globals__, name)
        self._visit_items(f"{path}.__defaults__", function.__defaults__ or ())
        self._visit_items(f"{path}.__kwdefaults__", function.__kwdefaults__ or {})
        if vars(function):
            self._visit_attributes(path, vars(function))

    def _visit_module(self, path: str, module: types.ModuleType) -> None:
        if module.__name__ == "random":
            self._look_at_content(path, random, lambda _: random.getstate(), is_guarded=False)
        elif module.__name__ == "os":
            if self.known_names & {"environ", "getenv"}:
                self.visit("os.environ", os.environ)
        elif module.__name__ in ("numpy", "numpy.random"):
            state = np.random.mtrand._rand
            self.visit("numpy.random", state)
        elif not _is_opaque(module.__name__):
            self._visit_attributes(path, vars(module))

    def _visit_class(self, path: str, cls: type) -> None:
        if type(cls) is not type:
            self.visit(f"{path}.__class__", type(cls))
        for base in cls.__mro__:
            if not _is_opaque(base.__module__):
                self._visit_attributes(path, vars(base))
                for name in sorted(self.known_names - vars(base).keys()):
                    if any(name in vars(other) for other in cls.__mro__):  # one that it could hide
                        self.state.entries.append(Entry(f"{path}.{name} of {base.__name__}", vars(base), name, MISSING))
                for name, function in vars(base).items():
                    if name.startswith("__") and isinstance(function, types.FunctionType):  # that an operator calls
                        self.visit(f"{path}.{name}", function)

    def _visit_object(self, path: str, value: object) -> None:
        if path in self._roots:  # an argument, whose class is part of the form of a call, and which may die
            self.visit(f"{path}.__class__", type(value))
        else:
            self._look(f"{path}.__class__", value, "__class__")
        if isinstance(value, Module):
            self.names |= {"forward"}
        for name in getattr(type(value), "guarded_properties", ()):
            self.state.properties.append(Entry(f"{path}.{name}", value, name, getattr(value, name)))
        for base in type(value).__mro__:
            for name in _slots_of(base) & self.known_names:
                self._look(f"{path}.{name}", value, name)
        if not hasattr(value, "__dict__"):
            return
        live = getattr(type(value), "live_attributes", ())
        if live:
            self.state.live_objects.append(value)
        is_ours = isinstance(value, (Module, Optimizer, Schedule, GradScaler)) and any(
            _is_opaque(base.__module__) for base in type(value).__mro__[:-1] if base is not Module
        )
        self.state.sizes.append((path, vars(value), len(vars(value)), None))  # a new one may hide one of the class
        for name, attribute in list(vars(value).items()):
            if name in live:
                continue
            if is_ours or name in self.known_names or isinstance(value, Module) and not isinstance(attribute, PLAIN):
                self._look(f"{path}.{name}", vars(value), name)

    def _visit_attributes(self, path: str, attributes: Mapping[str, object]) -> None:
        for name in sorted(self.known_names & attributes.keys()):
            self._look(f"{path}.{name}", attributes, name)

    def _visit_items(self, path: str, items: Any) -> None:
        keys = tuple(items) if isinstance(items, dict) and len(items) <= MOST_ENTRIES else None
        self.state.sizes.append((path, items, len(items), keys))
        if len(items) > MOST_ENTRIES:
            return
        if isinstance(items, collections.deque):
            self._look_at_content(path, items, _identities)
            for index, entry in enumerate(items):
                self.visit(f"{path}[{index}]", entry)
            return
        for key in keys if keys is not None else range(len(items)):
            self._look(f"{path}[{short(key)}]", items, key)

    def _look(self, path: str, container: Container, key: Any) -> None:
        value = held(container, key)
        path = self._unique(path)
        if value is MISSING:
            return
        if isinstance(value, NDArray):
            self.state.arrays.append(Entry(path, container, key, value))
        else:
            self.state.entries.append(Entry(path, container, key, value))
        self.visit(path, value)

    def _look_at_content(self, path: str, value: object, describe: Any, is_guarded: bool = True) -> None:
        self.state.contents.append(Content(path, value, describe if is_guarded else None, describe(value)))

    def _unique(self, path: str) -> str:
        self._paths[path] += 1
        return path if self._paths[path] == 1 else f"{path} ({self._paths[path]})"


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> frozenset[str]:
    """The globals, attributes and modules that a function's code names, with that of the functions in it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():  # for getattr
            names.add(constant)
    return frozenset(names)


def _slots_of(cls: type) -> set[str]:
    slots = vars(cls).get("__slots__", ())
    names = {slots} if isinstance(slots, str) else set(slots)
    own = cls.__name__.lstrip("_")
    return {f"_{own}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names}


def _array_content(array: Any) -> object:
    if array.dtype == object:
        return array.shape, _identities(array.ravel().tolist())
    return array.shape, array.dtype.str, array.tobytes()


def _generator_state(generator: Any) -> object:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return repr(generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state())


def _referent(names: set[str], reference: weakref.ref[Any]) -> object:
    """The object that a weak reference leads to, without keeping it alive, and those of its attributes that code names."""
    referent = reference()
    attributes = getattr(referent, "__dict__", {})
    return id(referent), {name: _identities([attributes[name]]) for name in names & attributes.keys()}


def _identities(items: Any) -> object:
    return [entry if isinstance(entry, PLAIN) else id(entry) for entry in items]


def _is_ours(module: Any) -> bool:
    """Whether a module is Needle's, or NumPy's: the recorder sees what their objects do."""
    return not isinstance(module, str) or module.partition(".")[0] in ("needle", "numpy")


def _is_opaque(module: Any) -> bool:
    """Whether code of a module is not looked into: Needle's own, which the recorder sees, Python's, and installed ones'."""
    if not isinstance(module, str) or module.partition(".")[0] in _OPAQUE_PACKAGES:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file
