"""`jit`: a function that is recorded when it is called, and replayed as one program from the third call of a form on."""

from __future__ import annotations

import functools
import operator
import os
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from needle.amp.precision import autocast_dtype
from needle.autograd import Tensor, is_recording
from needle.backend_ndarray import NDArray, cpu, recording
from needle.compiler.compare import difference
from needle.compiler.compiled import Compiled
from needle.compiler.recorded import Recorded, record
from needle.compiler.rehearsal import ReplayFailed
from needle.compiler.tree import array_of, containers_in, contents, flatten
from needle.errors import JitError, short, user_line

MANY_FORMS = 8  # of one function: the next one gives a warning that says what differs
MOST_FORMS = 32  # of one function: the one that was not called for longest is forgotten
MOST_PROGRAMS = 8  # of one form, likewise
_MOST_UNSETTLED = 4  # recordings in a row, of one form, that changed what they depend on, before that is an error
_MOST_RECORDINGS = 12  # in a row without a program
_MANY_RECORDINGS = 32  # of all forms: a warning if there were few replays by then


def jit(function: Callable[..., Any], *, check: bool = False) -> Any:
    """A function, a method or a Module that runs as one program, with the results and effects that it has without.

        @ndl.jit
        def train_step(images, labels):
            optimizer.reset_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

    The first two calls run as usual and are recorded. If they made the same kernel calls, these are simplified and
    planned, and later calls replay them. Each form of call has a program of its own: other shapes, dtypes or layouts of
    Tensors, other plain arguments, a model in evaluation mode, and anything else that the function reads in Python.

    Arguments and results are Tensors, plain values, and tuples, lists and dicts of them; an argument may also be any
    other object, such as a model. Numbers of an optimizer, a schedule or a GradScaler, and random numbers, are new in
    every call. State may go from call to call in attributes, entries, globals and closures, in which a call puts new
    Tensors, or tuples, lists and dicts of them, in the place of others. What a replay could not repeat is a JitError
    that names the line: a value of a Tensor that is read inside (`item()`, `if x > 0`), a Tensor that escapes into a
    list, a number that differs from call to call. Results have no graph: `backward` belongs into the function.

    With `check`, every replay is compared, bit by bit, with a call as usual, whose effects are undone. The environment
    variable NEEDLE_JIT=off makes all functions run as usual.
    """
    if isinstance(function, JitFunction):
        return function
    if not callable(function):
        raise TypeError(f"jit: a {type(function).__name__}: expected a function, a method or a Module")
    return JitFunction(function, check)


class _Form:
    """What is known of one form of call."""

    def __init__(self) -> None:
        self.programs: list[Compiled] = []
        self.recorded: list[Recorded] = []  # settled calls that no second one was like yet, the newest last
        self.unsettled = 0  # recordings in a row
        self.recordings = 0  # in a row, without a program
        self.differences = 0


_cpu = cpu()
_OWN = frozenset({"_function", "_check", "_lock", "_forms", "_has_warned", "_objects", "_newest", "_stats"})


class JitFunction:
    """What `jit` makes of a function. It has the function's attributes."""

    def __init__(self, function: Callable[..., Any], check: bool = False) -> None:
        self._function = function
        self._check = check
        self._lock = threading.RLock()
        self._forms: OrderedDict[Any, _Form] = OrderedDict()
        self._has_warned = False
        self._objects: dict[int, object] = {}  # arguments that are no trees, or weak references to them, by id
        self._newest: Callable[[], Compiled | None] = lambda: None  # a weak reference
        self._stats: dict[str, Any] = {"recordings": 0, "replays": 0}
        if not isinstance(function, functools.partial) and hasattr(function, "__name__"):
            functools.update_wrapper(self, function)
        _functions.add(self)
        self.__wrapped__ = function  # where a Module that has this one finds parameters

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    @property
    def jitted(self) -> Callable[..., Any]:
        """The function itself."""
        return self._function

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._function, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN or name.startswith("__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._function, name, value)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return JitFunction, (self._function, self._check)  # copies record anew

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recording.recorder() is not None or _is_off():
            return self._function(*args, **kwargs)  # part of the program of the function that calls it
        leaves: list[Tensor | NDArray] = []
        objects: list[object] = []
        tree = (
            tuple([flatten(value, leaves, objects) for value in args]),
            flatten(kwargs, leaves, objects) if kwargs else None,
        )
        key = (tree, _aliases(leaves), is_recording(), autocast_dtype())
        with self._lock:
            form = self._forms.get(key)
            if form is not None:
                count = len(leaves)
                for compiled in form.programs:
                    inputs = compiled.inputs(leaves)
                    if inputs is not None:
                        self._stats["replays"] += 1
                        form.unsettled = form.recordings = 0
                        try:
                            if not self._check:
                                return compiled.run(leaves, inputs)
                            call = functools.partial(self._function, *args, **kwargs)
                            return compiled.checked_run(leaves, inputs, call)
                        except ReplayFailed as error:
                            failed = error
                        raise failed.rehearse(functools.partial(self._function, *args, **kwargs))
                    del leaves[count:]
            return self._record(key, leaves, objects, functools.partial(self._function, *args, **kwargs))

    def program(self) -> Any:
        """The newest program, whose text lists its calls. None if there is none yet."""
        newest = self._newest()
        return None if newest is None else newest.program

    @property
    def stats(self) -> dict[str, Any]:
        """How often the function was recorded and replayed, and the figures of its newest program.

        These are, before and after the passes, the number of kernel calls, the bytes that they read and write, and the
        most bytes of memory that arrays other than inputs take at a time; and the seconds that it took to compile.
        """
        return dict(self._stats)

    def programs(self) -> list[Compiled]:
        """All programs."""
        return [compiled for form in self._forms.values() for compiled in form.programs]

    def _record(self, key: Any, leaves: list[Any], objects: list[object], call: functools.partial[Any]) -> Any:
        """Runs the function, and makes a program of it if it did what it did in a call before."""
        name = _name_of(self._function)
        for value in objects:
            if isinstance(value, np.ndarray):
                raise JitError(
                    f"{user_line()}: an argument of a function of ndl.jit is {short(value)}, whose values would be frozen: "
                    "expected a Tensor"
                )
        roots = {
            name.partition(" ")[0]: self._function,
            **{f"argument {i}" if i else "self": x for i, x in enumerate(objects)},
        }
        form = self._forms.get(key)
        alike = [] if form is None else [other for other in reversed(form.recorded) if other.fits(leaves)]
        like = next((other for other in alike if other.fits_gradients()), None)
        self._stats["recordings"] += 1
        self._warn_if_always_recorded(name)
        before = [(container, contents(container)) for container in containers_in((call.args, call.keywords))]
        result, recorded = record(call, roots, leaves)
        for container, old in before:
            now = contents(container)
            if len(now) != len(old) or not all(map(operator.is_, now, old)):
                raise JitError(
                    f"{name}: changes a {type(container).__name__} that is an argument, which a replay would not do again: expected "
                    "it to return what it makes"
                )
        form = self._forms.get(key) or self._new_form(key, objects)
        self._forms.move_to_end(key)
        form.recordings += 1
        if recorded.unsettled is not None:
            form.unsettled += 1
            if form.unsettled >= _MOST_UNSETTLED:
                raise JitError(
                    f"{name}: every call changes what it depends on: {recorded.unsettled}: expected a Tensor that it "
                    "takes and returns, or to be outside the function"
                )
            return result
        form.unsettled = 0
        if like is None:  # which Tensors had gradients may have made no difference
            like = next((other for other in alike if difference(other, recorded) is None), None)
        if like is not None:
            form.recorded = [other for other in form.recorded if other is not like]
            differs = difference(like, recorded)
            if differs is None:
                compiled = Compiled(name, recorded.confirmed_by(like))
                self._newest = weakref.ref(compiled)
                self._stats |= compiled.stats
                form.programs = [compiled, *form.programs][:MOST_PROGRAMS]
                form.recordings = form.differences = 0
                return result
            form.differences += 1
            if form.differences > 1:
                raise JitError(f"{name}: {differs}")
        elif form.recordings > _MOST_RECORDINGS:
            changed = next(
                (change for last in form.recorded[-1:] for change in last.changes(recorded)), "its arguments"
            )
            raise JitError(
                f"{name}: {form.recordings} calls in a row were all different: {changed}: expected what changes from call "
                "to call to be a Tensor and an argument"
            )
        form.recorded = [*form.recorded[1 - MOST_PROGRAMS :], recorded]
        return result

    def _warn_if_always_recorded(self, name: str) -> None:
        if self._stats["recordings"] == _MANY_RECORDINGS and self._stats["replays"] < _MANY_RECORDINGS // 4:
            warnings.warn(
                f"{name}: recorded in {_MANY_RECORDINGS} calls and replayed in {self._stats['replays']}: an argument that is an "
                "object is another kind of call if it is a new one: expected Tensors and plain values, or the same object",
                stacklevel=4,
            )

    def _new_form(self, key: Any, objects: list[object]) -> _Form:
        for value in objects:
            if id(value) not in self._objects:
                self._objects[id(value)] = self._reference(value)
        if len(self._forms) == MANY_FORMS and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{_name_of(self._function)}: called in {MANY_FORMS + 1} forms, each of which is recorded: the last two "
                f"differ in {_difference(next(reversed(self._forms)), key)}",
                stacklevel=4,
            )
        if len(self._forms) >= MOST_FORMS:
            self._forms.popitem(last=False)
        form = self._forms[key] = _Form()
        if len(self._forms) == MOST_FORMS:
            forms = [tree for tree, *_ in self._forms]
            self._objects = {i: of for i, of in self._objects.items() if any(_mentions(tree, i) for tree in forms)}
        return form

    def _reference(self, value: object) -> object:
        """A weak reference to an argument, which forgets its forms when it dies; for want of one, the argument."""

        def forget(reference: object, of: weakref.ref[JitFunction] = weakref.ref(self)) -> None:
            function = of()
            if function is not None:
                function._objects.pop(key, None)
                function._forms = OrderedDict((k, v) for k, v in function._forms.items() if not _mentions(k[0], key))

        key = id(value)
        try:
            return weakref.ref(value, forget)
        except TypeError:
            return value


_functions: weakref.WeakSet[JitFunction] = weakref.WeakSet()


def describe_functions() -> list[str]:
    """Lines for `show_config`: the jitted functions that there are, and how often they were recorded and replayed."""
    lines = [f"jitted functions: {len(_functions) or 'none'} (NEEDLE_JIT={os.environ.get('NEEDLE_JIT', 'on')})"]
    for function in sorted(_functions, key=lambda f: _name_of(f.jitted)):
        stats = function.stats
        lines.append(f"  {_name_of(function.jitted)}: {stats['recordings']} recordings, {stats['replays']} replays")
    return lines


def _is_off() -> bool:
    setting: str | None = _cpu.kernels.environment("NEEDLE_JIT")
    if setting not in (None, "on", "off"):
        raise ValueError(f"NEEDLE_JIT={setting}: expected on or off")
    return setting == "off"


def _mentions(tree: Any, key: int) -> bool:
    """Whether a form has the object with that id."""
    return isinstance(tree, tuple) and (tree[:2] == ("object", key) or any(_mentions(part, key) for part in tree))


def _aliases(leaves: list[Tensor | NDArray]) -> tuple[int, ...] | None:
    """Which arguments share memory; None if none do, as usual."""
    buffers = [id(array_of(leaf).buffer) for leaf in leaves]
    return None if len(set(buffers)) == len(buffers) else tuple(map(buffers.index, buffers))


def _difference(one: Any, other: Any) -> str:
    """The first part in which two forms differ."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for a, b in zip(one, other):
            if a is not b and a != b:
                return _difference(a, b)
    return f"{one!r} and {other!r}"


def _name_of(function: Any) -> str:
    """The function's name and where it is defined: "train_step (train.py:12)"."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return name if code is None else f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
