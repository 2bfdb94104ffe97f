"""Which operation runs in which precision within `autocast`, and the casts that make it so.

The parameters stay float32, the master weights, and so do their gradients and all that an optimizer sees: inputs are
cast as an operation is called, by Cast, whose gradient is the cast back.
"""

from __future__ import annotations

import contextlib

from needle import ops
from needle.autograd import Op, Parameter, Tensor, Value, autocasting, computing, is_recording, require_tensors
from needle.backend_ndarray import DType, NDArray
from needle.backend_ndarray.arguments import flag
from needle.backend_ndarray.dtype import as_dtype, bfloat16, float16, float32, float64
from needle.errors import DTypeError
from needle.ops.arithmetic import ScalarDiv, ScalarPower

LOW = "low"  # the context's float16 or bfloat16

# Operations that are not here take their inputs as they come: two dtypes promote, so half beside float32 gives float32.
# Among them are the normalizations, whose kernels take half inputs with float32 parameters and statistics.
PRECISION: dict[type[Op], str] = {
    # Products: nearly all the time of a step, and what half types are fast at. The kernels sum in float32.
    ops.MatMul: LOW,
    ops.Linear: LOW,
    ops.Conv: LOW,
    ops.RNN: LOW,
    ops.LSTM: LOW,
    # Functions with a range beyond that of their argument: float16 ends at 65504, which is e^11.1.
    ops.Exp: float32,
    ops.Log: float32,
    ops.EWisePow: float32,
    ops.PowerScalar: float32,
    ScalarPower: float32,
    ScalarDiv: float32,
    # Sums of many
    ops.Summation: float32,
    ops.Mean: float32,
    ops.LogSumExp: float32,
    ops.Softmax: float32,
    ops.LogSoftmax: float32,
    ops.SoftmaxCrossEntropy: float32,
}
_CAST = (float16, bfloat16, float32)  # whoever wants float64, integers or bools gets them


def autocast(dtype: str | DType = "bfloat16", enabled: bool = True) -> contextlib.AbstractContextManager:
    """A context, or decorator, in which every operation of this thread runs in its PRECISION, LOW being `dtype`.

        with ndl.autocast("bfloat16"):
            loss = loss_function(model(x), labels)
        loss.backward()

    The backward pass runs in the dtypes that the forward pass chose, within the context or after it. Within a context
    that is not `enabled` nothing is cast. An operation with a float64 input is left alone. A Parameter is cast once,
    and again after an optimizer's step, `load_state_dict` or an assignment of `data` has changed it.

    Raises DTypeError unless dtype is float16 or bfloat16.
    """
    dtype = as_dtype(dtype, "autocast")
    if dtype not in (float16, bfloat16):
        raise DTypeError(f"autocast: dtype {dtype}: expected float16 or bfloat16")
    return _autocast(dtype) if flag("autocast", "enabled", enabled) else computing(autocast=None)


@contextlib.contextmanager
def _autocast(dtype: DType):
    outer = autocasting()
    with computing(autocast=_Autocast(dtype, outer.casts if outer else _ParameterCasts())):
        yield


class _Autocast:
    """Casts the inputs of every Op that is called in a context; `casts` are shared with contexts within it."""

    def __init__(self, dtype: DType, casts: _ParameterCasts) -> None:
        self.dtype = dtype
        self.casts = casts

    def __call__(self, op: Op, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
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
    """One of which several graphs are made, so that a backward pass over one of them does not let it go."""

    is_shared = True


class _ParameterCasts:
    """Parameters in another dtype, each cast once until it changes."""

    def __init__(self) -> None:
        self._casts: dict[tuple[int, DType], tuple[Parameter, NDArray, int, Tensor]] = {}

    def cast(self, parameter: Parameter, dtype: DType) -> Tensor:
        key, array = (id(parameter), dtype), parameter.cached_data
        _, of, changed_at, cast = self._casts.get(key, (None, None, None, None))
        if of is not array or changed_at != array.buffer.changed_at or not _is_of_use(cast, parameter):
            cast = _SharedCast(dtype)(parameter)
            self._casts[key] = parameter, array, array.buffer.changed_at, cast
        return cast


def _is_of_use(cast: Tensor, parameter: Parameter) -> bool:
    """Whether a backward pass would go from the cast to the parameter if and only if it should."""
    return cast is not None and cast.requires_grad == (is_recording() and parameter.requires_grad)
