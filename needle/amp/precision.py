"""The precision of each operation within `autocast`, and the casts that implement it.

The parameters stay float32 as master weights, and so do their gradients and everything that an optimizer uses. Inputs
are cast when an operation is called, by Cast, whose gradient is the cast back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from needle import ops
from needle.autograd import Op, Parameter, Tensor, autocasting, computing, is_recording, require_tensors
from needle.backend_ndarray import DType, NDArray, changes
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.dtype import as_dtype, bfloat16, float16, float32, float64
from needle.errors import DTypeError
from needle.ops.arithmetic import RDivScalar, RPowerScalar

LOW = "low"  # the context's float16 or bfloat16

# Operations not listed here take their inputs unchanged: two dtypes promote, so half with float32 gives float32. Among
# them are the normalizations, whose kernels take half inputs with float32 parameters and statistics.
PRECISION: dict[type[Op], str] = {
    # Products: they take nearly all the time of a step, and half types speed them up. The kernels sum in float32.
    ops.MatMul: LOW,
    ops.Linear: LOW,
    ops.Conv: LOW,
    ops.RNN: LOW,
    ops.LSTM: LOW,
    # Functions whose range exceeds that of their argument: float16 ends at 65504, which is e^11.1.
    ops.Exp: float32,
    ops.Log: float32,
    ops.EWisePow: float32,
    ops.PowerScalar: float32,
    RPowerScalar: float32,
    RDivScalar: float32,
    # Sums of many elements
    ops.Summation: float32,
    ops.Mean: float32,
    ops.LogSumExp: float32,
    ops.Softmax: float32,
    ops.LogSoftmax: float32,
    ops.SoftmaxCrossEntropy: float32,
}
_CAST = (float16, bfloat16, float32)  # float64, integers and bools are never cast


def autocast(dtype: str | DType = "bfloat16", enabled: bool = True) -> contextlib.AbstractContextManager[None]:
    """A context manager (or decorator) in which this thread's operations run in their PRECISION; LOW means `dtype`.

        with ndl.autocast("bfloat16"):
            loss = loss_function(model(x), labels)
        loss.backward()

    The backward pass uses the dtypes that the forward pass chose, whether it runs within the context or after it.
    Nothing is cast within a context that is not `enabled`, nor in an operation with a float64 input. The cast of a
    Parameter is cached, until an optimizer's step, `load_state_dict` or an assignment of `data` changes the Parameter.

    Raises DTypeError unless dtype is float16 or bfloat16.
    """
    dtype = as_dtype(dtype, "autocast")
    if dtype not in (float16, bfloat16):
        raise DTypeError(f"autocast: dtype {dtype}: expected float16 or bfloat16")
    return _autocast(dtype) if flag("autocast", "enabled", enabled) else computing(autocast=None)


@contextlib.contextmanager
def _autocast(dtype: DType) -> Iterator[None]:
    outer = autocasting()
    casts = outer.casts if isinstance(outer, _Autocast) else _ParameterCasts()
    with computing(autocast=_Autocast(dtype, casts)):
        yield


def autocast_dtype() -> DType | None:
    """The dtype of this thread's `autocast`, None outside."""
    active = autocasting()
    return active.dtype if isinstance(active, _Autocast) else None


def with_new_casts() -> contextlib.AbstractContextManager[None]:
    """A context that casts as this thread does now, but uses no cast that was made outside."""
    dtype = autocast_dtype()
    return contextlib.nullcontext() if dtype is None else computing(autocast=_Autocast(dtype, _ParameterCasts()))


class _Autocast:
    """Casts the inputs of every Op called in a context; nested contexts share `casts`."""

    def __init__(self, dtype: DType, casts: _ParameterCasts) -> None:
        self.dtype = dtype
        self.casts = casts

    def __call__(self, op: Op, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        precision = PRECISION.get(type(op))
        if precision is None:
            return inputs
        require_tensors(type(op).__name__, *inputs)
        if any(value.dtype is float64 for value in inputs):
            return inputs
        dtype = self.dtype if precision is LOW else float32
        return tuple(self._cast(value, dtype) if value.dtype in _CAST else value for value in inputs)

    def _cast(self, value: Tensor, dtype: DType) -> Tensor:
        if isinstance(value, Parameter) and value.dtype is not dtype:
            return self.casts.cast(value, dtype)
        return ops.cast(value, dtype)


class _SharedCast(ops.Cast):
    """A cast that several graphs share, so a backward pass over one of them must not free it."""

    is_shared = True


class _ParameterCasts:
    """A cache of Parameters cast to other dtypes, valid until the Parameter changes."""

    def __init__(self) -> None:
        # The last three: the Parameter's array, `changes.count` when it was cast, and the result.
        self._casts: dict[tuple[int, DType], tuple[Parameter, NDArray, int, Tensor]] = {}

    def cast(self, parameter: Parameter, dtype: DType) -> Tensor:
        key, array = (id(parameter), dtype), parameter.cached_data
        known = self._casts.get(key)
        if known is not None:
            _, of, moment, cast = known
            if of is array and not changes.changed_since(array, moment) and _is_of_use(cast, parameter):
                return cast
        moment = changes.count
        cast = _SharedCast(dtype)(parameter)
        self._casts[key] = parameter, array, moment, cast
        return cast


def _is_of_use(cast: Tensor, parameter: Parameter) -> bool:
    """Whether the cached cast passes gradients on to the parameter exactly when it should."""
    return cast.requires_grad == (is_recording() and parameter.requires_grad)
