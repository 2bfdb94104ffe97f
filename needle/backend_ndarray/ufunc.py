"""NumPy functions on our arrays: np.exp(x) and numpy_array + x dispatch to Needle's functions where they exist."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

_NAMES = frozenset(
    """add subtract multiply divide floor_divide remainder power negative absolute sign exp log sqrt sin cos tanh floor
    ceil maximum minimum equal not_equal less less_equal greater greater_equal matmul logical_and logical_or logical_xor
    logical_not""".split()
)
_OURS = {"negative": "negate", "absolute": "abs"}  # where the names differ


def functions_of(*modules: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Our functions that stand for NumPy's, by the names of those; each from the first module that has it."""
    found = {}
    for name in _NAMES:
        for module in modules:
            if name not in found and hasattr(module, _OURS.get(name, name)):
                found[name] = getattr(module, _OURS.get(name, name))
    return found


def apply_ufunc(
    functions: dict[str, Callable[..., Any]],
    ufunc: np.ufunc,
    method: str,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    has_gradient: bool,
) -> Any:
    """Implements `__array_ufunc__`: calls our function of that name (see `functions_of`), else NumPy's on the values.

    Raises TypeError if that would lose a gradient: for a floating result if an input `has_gradient`.
    """
    name = ufunc.__name__
    if name in functions and method == "__call__" and not options:
        return functions[name](*inputs)
    call = f"numpy.{name}" if method == "__call__" else f"numpy.{name}.{method}"
    written = inputs[:1] if method == "at" else options.get("out", ())
    if any(hasattr(x, "__array_ufunc__") and not isinstance(x, np.ndarray) for x in written):
        raise TypeError(f"{call}: into what is not NumPy's: expected a NumPy array, or x[...] = y of an NDArray")
    if has_gradient and written:
        raise _gradient_lost(call)
    result = getattr(ufunc, method)(*map(_plain, inputs), **options)
    if has_gradient and _is_floating(result):
        raise _gradient_lost(call)
    return result


def array_function(
    self: object,
    function: Callable[..., Any],
    types: Collection[type],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    """The method `__array_function__`: calls NumPy's function, such as np.concatenate, on the values.

    Raises TypeError if that would lose a gradient, as `apply_ufunc` does.
    """
    found: list[Any] = []
    result = function(*_all_plain(arguments, found), **_all_plain(options, found))
    if (
        _is_floating(result)
        and function.__name__ not in _OF_SHAPES
        and any(getattr(x, "requires_grad", False) for x in found)
    ):
        raise _gradient_lost(f"numpy.{function.__name__}")
    return result


_OF_SHAPES = frozenset("zeros_like ones_like empty_like full_like".split())


def _plain(x: Any) -> Any:
    """Converts our arrays to NumPy arrays; returns anything else unchanged."""
    return np.asarray(x) if hasattr(x, "__array_ufunc__") and not isinstance(x, np.ndarray) else x


def _all_plain(x: Any, found: list[Any]) -> Any:
    """Applies `_plain` throughout tuples, lists and dicts; adds the converted arrays to `found`."""
    if isinstance(x, (tuple, list)):
        return type(x)(_all_plain(entry, found) for entry in x)
    if isinstance(x, dict):
        return {key: _all_plain(entry, found) for key, entry in x.items()}
    plain = _plain(x)
    if plain is not x:
        found.append(x)
    return plain


def _is_floating(result: object) -> bool:
    """Whether a result has floating numbers, through which a gradient could flow."""
    if isinstance(result, (tuple, list)):
        return any(map(_is_floating, result))
    return isinstance(result, (float, np.generic, np.ndarray)) and np.asarray(result).dtype.kind not in "biuUSM"


def _gradient_lost(call: str) -> TypeError:
    return TypeError(
        f"{call}: of a Tensor it would lose the gradient: expected one of needle.ops, or .numpy() of the Tensor"
    )
