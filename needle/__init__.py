"""Needle: a deep learning framework small enough to read in a week. `import needle as ndl`."""

from needle import amp, autograd, backend_ndarray, checkpoint, data, errors, init, nn, ops, optim
from needle.amp import autocast
from needle.autograd import Op, Parameter, Tensor, TensorTuple, gradients, no_grad
from needle.backend_ndarray import (
    Device, DType, NDArray, all_devices, cpu, cpu_numpy, cuda, default_device, gpu, promote_types,
)  # fmt: skip
from needle.backend_ndarray.dtype import (
    bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8,
)  # fmt: skip
from needle.backend_ndarray.random import manual_seed
from needle.config import (
    __version__, get_float32_matmul_precision, get_num_threads, memory_stats, reset_peak_memory,
    set_float32_matmul_precision, set_num_threads, show_config,
)  # fmt: skip
from needle.errors import (
    CheckpointError, DataError, DeviceError, DTypeError, GradientError, JitError, NeedleError, OutOfMemoryError,
    ShapeError,
)  # fmt: skip
from needle.ops import (
    abs, add, add_relu, add_scalar, avg_pool2d, batch_norm, broadcast_to, concatenate, conv, cos, dilate, divide,
    divide_scalar, dropout, embedding, equal, erf, ewise_pow, exp, flip, gather, gelu, greater, greater_equal,
    layer_norm, less, less_equal, linear, log, log_softmax, logsoftmax, logsumexp, matmul, max, max_pool2d, maximum,
    mean, min, minimum, mul_scalar, multiply, negate, not_equal, ones_like, pad, permute, power, power_scalar, relu,
    reshape, sigmoid, sign, sin, softmax, softmax_cross_entropy, split, sqrt, stack, subtract, sum, summation, tanh,
    transpose, undilate, where, zeros_like,
)  # fmt: skip
from needle.compiler import jit
from needle.progress import ProgressBar, tqdm, trange

__all__ = [
    "__version__", "abs", "add", "add_relu", "add_scalar", "all_devices", "amp", "autocast", "autograd", "avg_pool2d",
    "backend_ndarray", "batch_norm", "bfloat16", "bool_", "broadcast_to", "checkpoint", "CheckpointError",
    "concatenate", "conv", "cos", "cpu", "cpu_numpy", "cuda", "data", "DataError", "default_device", "Device",
    "DeviceError", "dilate", "divide", "divide_scalar", "dropout", "DType", "DTypeError", "embedding", "equal", "erf",
    "errors", "ewise_pow", "exp", "flip", "float16", "float32", "float64", "gather", "gelu",
    "get_float32_matmul_precision", "get_num_threads", "gpu", "GradientError", "gradients", "greater", "greater_equal",
    "init", "int32", "int64", "int8", "jit", "JitError", "layer_norm", "less", "less_equal", "linear", "log",
    "log_softmax", "logsoftmax", "logsumexp", "manual_seed", "matmul", "max", "max_pool2d", "maximum", "mean",
    "memory_stats", "min", "minimum", "mul_scalar", "multiply", "NDArray", "NeedleError", "negate", "nn", "no_grad",
    "not_equal", "ones_like", "Op", "ops", "optim", "OutOfMemoryError", "pad", "Parameter", "permute", "power",
    "power_scalar", "ProgressBar", "promote_types", "relu", "reset_peak_memory", "reshape",
    "set_float32_matmul_precision", "set_num_threads", "ShapeError", "show_config", "sigmoid", "sign", "sin", "softmax",
    "softmax_cross_entropy", "split", "sqrt", "stack", "subtract", "sum", "summation", "tanh", "Tensor", "TensorTuple",
    "tqdm", "trange", "transpose", "uint8", "undilate", "where", "zeros_like",
]  # fmt: skip
