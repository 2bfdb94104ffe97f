"""Every operation on Tensors, by topic: a function, and the Op that it calls.

The functions are also in `needle` itself, except for the work of a Tensor's method, `cast` (`x.astype`) and `getitem`
(`x[index]`), and of a layer, `batch_norm_inference`, `lstm`, `lstm_cell`, `rnn` and `rnn_cell`.
"""

from needle.init.basic import ones_like, zeros_like
from needle.ops.arithmetic import (
    AddReLU, AddScalar, DivScalar, EWiseAdd, EWiseDiv, EWiseMul, EWisePow, EWiseSub, MulScalar, PowerScalar,
    add, add_relu, divide, multiply, power, subtract,
)  # fmt: skip
from needle.ops.broadcast import (
    BroadcastTo, Summation, broadcast_to, sum,
)  # fmt: skip
from needle.ops.cast import Cast, cast
from needle.ops.unary import (
    Erf, Exp, Log, Negate, ReLU, Sigmoid, Sqrt, Tanh,
    abs, cos, erf, exp, gelu, log, negate, relu, sigmoid, sign, sin, sqrt, tanh,
)  # fmt: skip
from needle.ops.compare import (
    Maximum, Minimum, Where,
    equal, greater, greater_equal, less, less_equal, maximum, minimum, not_equal, where,
)  # fmt: skip
from needle.ops.reduce import Max, Mean, Min, max, mean, min
from needle.ops.shape import (
    Concatenate, Dilate, Flip, Pad, Permute, Reshape, Split, Stack, Transpose, UnDilate,
    concatenate, dilate, flip, pad, permute, reshape, split, stack, transpose, undilate,
)  # fmt: skip
from needle.ops.matmul import Linear, MatMul, linear, matmul
from needle.ops.conv import Conv, conv
from needle.ops.pool import AvgPool2d, MaxPool2d, avg_pool2d, max_pool2d
from needle.ops.norm import BatchNorm, LayerNorm, batch_norm, batch_norm_inference, layer_norm
from needle.ops.softmax import (
    LogSoftmax, LogSumExp, Softmax, SoftmaxCrossEntropy,
    log_softmax, logsumexp, softmax, softmax_cross_entropy,
)  # fmt: skip
from needle.ops.gather import Gather, embedding, gather
from needle.ops.getitem import GetItem, getitem
from needle.ops.rnn import LSTM, RNN, lstm, lstm_cell, rnn, rnn_cell
from needle.ops.dropout import dropout
from needle.ops.course import (
    add_scalar, divide_scalar, ewise_pow, logsoftmax, mul_scalar, power_scalar, summation,
)  # fmt: skip
import needle.ops.tensor_methods  # noqa: F401  (it adds operators and methods to Tensor)

__all__ = [
    "abs", "add", "add_relu", "add_scalar", "AddReLU", "AddScalar", "avg_pool2d", "AvgPool2d", "batch_norm",
    "batch_norm_inference", "BatchNorm", "broadcast_to", "BroadcastTo", "Cast", "cast", "Concatenate", "concatenate",
    "Conv", "conv", "cos", "Dilate", "dilate", "divide", "divide_scalar", "DivScalar", "dropout", "embedding", "equal",
    "Erf", "erf", "ewise_pow", "EWiseAdd", "EWiseDiv", "EWiseMul", "EWisePow", "EWiseSub", "Exp", "exp", "Flip", "flip",
    "Gather", "gather", "gelu", "GetItem", "getitem", "greater", "greater_equal", "layer_norm", "LayerNorm", "less",
    "less_equal", "Linear", "linear", "Log", "log", "log_softmax", "LogSoftmax", "logsoftmax", "LogSumExp", "logsumexp",
    "LSTM", "lstm", "lstm_cell", "MatMul", "matmul", "Max", "max", "max_pool2d", "Maximum", "maximum", "MaxPool2d",
    "Mean", "mean", "Min", "min", "Minimum", "minimum", "mul_scalar", "MulScalar", "multiply", "Negate", "negate",
    "not_equal", "ones_like", "Pad", "pad", "Permute", "permute", "power", "power_scalar", "PowerScalar", "ReLU",
    "relu", "Reshape", "reshape", "RNN", "rnn", "rnn_cell", "Sigmoid", "sigmoid", "sign", "sin", "Softmax", "softmax",
    "softmax_cross_entropy", "SoftmaxCrossEntropy", "Split", "split", "Sqrt", "sqrt", "Stack", "stack", "subtract",
    "sum", "Summation", "summation", "Tanh", "tanh", "Transpose", "transpose", "UnDilate", "undilate", "Where", "where",
    "zeros_like",
]  # fmt: skip
