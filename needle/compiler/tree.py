"""Trees of arguments and results: Tensors, plain values and other objects in tuples, lists and dicts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from needle.autograd import Tensor
from needle.backend_ndarray import NDArray
from needle.compiler.state import PLAIN


def flatten(value: Any, leaves: list[Tensor | NDArray], objects: list[object]) -> Any:
    """The form of a tree: what two calls must have in common to run the same program.

    Appends Tensors and NDArrays, of which the form has layouts but no elements, to `leaves`, and what is no part of a
    tree to `objects`.
    """
    if isinstance(value, Tensor):
        leaves.append(value)
        has_no_gradient = value.requires_grad and value.grad is None  # of which the function may make a difference
        return layout_of(value.cached_data), value.requires_grad, has_no_gradient, value.op is None, type(value)
    if isinstance(value, NDArray):
        leaves.append(value)
        return layout_of(value)
    if isinstance(value, PLAIN):
        is_inexact = isinstance(value, (float, complex, np.inexact))
        return type(value), repr(value) if is_inexact else value  # -0.0 equals 0.0, and NaN nothing
    if is_tree(value):
        if isinstance(value, dict):
            return type(value), tuple(
                [(type(key), key, flatten(entry, leaves, objects)) for key, entry in value.items()]
            )
        return type(value), tuple([flatten(entry, leaves, objects) for entry in value])
    if isinstance(value, (slice, range, type(Ellipsis))):
        return type(value), repr(value)
    objects.append(value)
    return "object", id(value), type(value)


def is_tree(value: Any) -> bool:
    """Whether a value is a dict or OrderedDict, a list, a tuple or a named tuple."""
    return type(value) in (dict, OrderedDict, list, tuple) or isinstance(value, tuple) and hasattr(value, "_fields")


def containers_in(value: Any) -> list[Any]:
    """The lists and dicts of a tree."""
    if not is_tree(value):
        return []
    parts = value.values() if isinstance(value, dict) else value
    found = [] if isinstance(value, tuple) else [value]
    return found + [container for part in parts for container in containers_in(part)]


def contents(container: Any) -> list[Any]:
    """What is in a list or dict now: its entries, or its keys and then its values."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def layout_of(array: NDArray) -> tuple[Any, ...]:
    """All properties of an array except its values."""
    return array.shape, array.strides, array.offset, array.dtype, array.device


def array_of(leaf: Tensor | NDArray) -> NDArray:
    """A leaf's array."""
    return leaf.cached_data if isinstance(leaf, Tensor) else leaf


def leaves_of(value: Any) -> list[Any]:
    """All leaves of a tree."""
    found: list[Any] = []
    map_leaves(found.append, value)
    return found


def map_leaves(function: Callable[[Any], object], value: Any) -> Any:
    """The same tree with function(leaf) for every leaf."""
    return prepared(value, lambda leaf: lambda _: function(leaf))(None)


def prepared(value: Any, of_leaf: Callable[[Any], Callable[[Any], object]]) -> Callable[[Any], Any]:
    """A function that makes the same tree, of its argument: of_leaf(leaf)(argument) for every leaf.

    What depends only on the tree is done now, so that the function is fast.
    """
    if not is_tree(value):
        return of_leaf(value)
    cls = type(value)
    if isinstance(value, dict):
        entries = [(key, prepared(entry, of_leaf)) for key, entry in value.items()]
        return lambda argument: cls((key, make(argument)) for key, make in entries)
    makers = [prepared(entry, of_leaf) for entry in value]
    if cls in (list, tuple):
        return lambda argument: cls([make(argument) for make in makers])
    return lambda argument: cls(*[make(argument) for make in makers])
