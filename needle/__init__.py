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
    CheckpointError, DataError, DeviceError, DTypeError, GradientError, NeedleError, OutOfMemoryError, ShapeError,
)  # fmt: skip
from needle.ops import (
    abs, add, add_relu, add_scalar, avg_pool2d, batch_norm, broadcast_to, concatenate, conv, cos, dilate, divide,
    divide_scalar, dropout, embedding, erf, ewise_pow, exp, flip, gather, gelu, layer_norm, log, logsoftmax, logsumexp, matmul, max,
    max_pool2d, maximum, mean, min, minimum, mul_scalar, multiply, negate, pad, permute, power, power_scalar, relu,
    reshape, sigmoid, sin, softmax, softmax_cross_entropy, split, sqrt, stack, subtract, summation, tanh, transpose,
    undilate, where,
)  # fmt: skip
from needle.progress import ProgressBar, tqdm, trange
