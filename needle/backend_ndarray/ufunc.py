"""NumPy's functions of our arrays: np.exp(x) and numpy_array + x are Needle's functions, where Needle has one."""

from __future__ import annotations

import types

import numpy as np

_NAMES = frozenset(
    """add subtract multiply divide floor_divide remainder power negative absolute sign exp log sqrt sin cos tanh floor
    ceil maximum minimum equal not_equal less less_equal greater greater_equal matmul logical_and logical_or logical_xor
    logical_not""".split()
)
_OURS = {"negative": "negate", "absolute": "abs"}  # where the name is another


def apply_ufunc(modules: tuple[types.ModuleType, ...], ufunc: np.ufunc, method: str, inputs: tuple, options: dict,
                has_gradient: bool):  # fmt: skip
    """What `__array_ufunc__` does: our function of that name, from one of `modules`, else NumPy's, of the values.

    Raises TypeError where that would lose a gradient: for floating results of inputs of which one `has_gradient`.
    """
    name = ufunc.__name__
    if name in _NAMES and method == "__call__" and not options:
        for module in modules:
            if function := getattr(module, _OURS.get(name, name), None):
                return function(*inputs)
    result = None
    if not has_gradient or "out" not in options:
        result = getattr(ufunc, method)(*[np.asarray(x) if hasattr(x, "__array_ufunc__") else x for x in inputs], **options)
    if has_gradient and (result is None or np.asarray(result).dtype.kind not in "biu"):
        call = name if method == "__call__" else f"{name}.{method}"
        raise TypeError(
            f"numpy.{call}: of a Tensor it would lose the gradient: expected one of needle.ops, or .numpy() of the Tensor"
        )
    return result
