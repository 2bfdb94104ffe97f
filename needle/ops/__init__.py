"""Every differentiable operation, by topic. The functions are also in `needle` itself."""

from needle.ops.elementwise import (
    AddScalar, Cast, DivScalar, Erf, EWiseAdd, EWiseDiv, EWiseMul, EWisePow, EWiseSub, Exp, Log, Maximum, Minimum,
    MulScalar, Negate, PowerScalar, ReLU, Sigmoid, Sqrt, Tanh, Where,
    abs, add, add_scalar, cast, cos, divide, divide_scalar, equal, erf, ewise_pow, exp, gelu, greater, greater_equal,
    less, less_equal, log, maximum, minimum, mul_scalar, multiply, negate, not_equal, ones_like, power, power_scalar,
    relu, sigmoid, sign, sin, sqrt, subtract, tanh, where, zeros_like,
)  # fmt: skip
from needle.ops.reduce import Max, Min, Summation, max, mean, min, summation
from needle.ops.shape import (
    BroadcastTo, Concatenate, Dilate, Flip, GetItem, Pad, Permute, Reshape, Split, Stack, Transpose, UnDilate,
    broadcast_to, concatenate, dilate, flip, getitem, pad, permute, reshape, split, stack, transpose, undilate,
)  # fmt: skip
from needle.ops.matmul import MatMul, matmul
from needle.ops.conv import Conv, conv
from needle.ops.pool import AvgPool2d, MaxPool2d, avg_pool2d, max_pool2d
from needle.ops.norm import BatchNorm, LayerNorm, batch_norm, batch_norm_inference, layer_norm
from needle.ops.softmax import (
    LogSoftmax, LogSumExp, Softmax, SoftmaxCrossEntropy,
    logsoftmax, logsumexp, softmax, softmax_cross_entropy,
)  # fmt: skip
from needle.ops.gather import Gather, embedding, gather
from needle.ops.dropout import dropout
