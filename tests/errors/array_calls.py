"""Calls of operations, of Tensors' and NDArrays' methods, and of the functions that make them."""

from __future__ import annotations

import operator

import numpy as np

import needle as ndl
from needle import ops
from needle.backend_ndarray import NDArray, conv, elementwise, matmul, norm, pool, random, reduce, rnn, softmax
from needle import backend_ndarray as nd
from tests.errors.calls import Made, a, call, t, the_device

indices = Made(lambda device: ndl.Tensor([0, 1], device=device))
_UNARY = "abs cos erf exp gelu log negate relu sigmoid sign sin sqrt tanh ones_like zeros_like".split()
_BINARY = "add add_relu divide equal greater greater_equal less less_equal maximum minimum multiply not_equal power subtract".split()
_BINARY_NAMES = "less less_equal relu add greater greater_equal"
_images, _weight = t(1, 4, 4, 2), t(3, 3, 2, 3)
_x, _one_image = ndl.Tensor(np.ones((2, 3))), ndl.Tensor(np.ones((1, 4, 4, 2)))
_recurrent = (t(3, 2, 3), t(3, 2), t(2, 2), t(2), t(2, 2))
_long = (t(3, 2, 3), t(3, 8), t(2, 8), t(8), t(2, 2), t(2, 2))

OPS = [
    *(call(name, getattr(ops, name), t(2, 3)) for name in _UNARY),
    *(call(name, getattr(ops, name), t(2, 3), t(2, 3), also=_BINARY_NAMES) for name in _BINARY),
    *(call(name, getattr(ops, name), t(2, 3), also="sum reduction") for name in ("sum", "mean", "max", "min")),
    *(
        call(name, getattr(ops, name), t(2, 3), axes=(0,), also="sum reduction")
        for name in ("sum", "mean", "max", "min")
    ),
    call("logsumexp", ops.logsumexp, t(2, 3), axes=1),
    call("softmax", ops.softmax, t(2, 3), axis=-1),
    call("log_softmax", ops.log_softmax, t(2, 3), axis=-1),
    call("add_scalar", ops.add_scalar, t(2, 3), 2, also="add"),
    call("mul_scalar", ops.mul_scalar, t(2, 3), 2, also="multiply"),
    call("divide_scalar", ops.divide_scalar, t(2, 3), 2, also="divide DivScalar"),
    call("power_scalar", ops.power_scalar, t(2, 3), 2, also="power"),
    call("ewise_pow", ops.ewise_pow, t(2, 3), t(2, 3), also="power"),
    call("where", ops.where, t(2, 3, dtype="bool"), t(2, 3), 1.0),
    call("matmul", ops.matmul, t(2, 3), t(3, 4)),
    call("linear", ops.linear, t(2, 3), t(3, 4), t(4), nonlinearity="relu"),
    call("conv", ops.conv, _images, _weight, 1, 1, bias=t(3)),
    call("conv", ops.conv, _images, _weight, stride=2, padding=0),
    call("max_pool2d", ops.max_pool2d, _images, 2, stride=2, padding=0),
    call("avg_pool2d", ops.avg_pool2d, _images, 2, stride=None, padding=1),
    call("batch_norm", ops.batch_norm, t(4, 3), t(3), t(3), eps=1e-5, nonlinearity=None),
    call("batch_norm", ops.batch_norm, t(4, 3), t(3), t(3), running=(t(3), t(3)), momentum=0.5),
    call("batch_norm_inference", ops.batch_norm_inference, t(4, 3), *[t(3)] * 4, eps=1e-5, nonlinearity="relu"),
    call("layer_norm", ops.layer_norm, t(4, 3), t(3), t(3), eps=1e-5),
    call("rnn", ops.rnn, *_recurrent, nonlinearity="tanh"),
    call("rnn_cell", ops.rnn_cell, t(2, 3), t(2, 2), t(3, 2), t(2, 2), t(2), nonlinearity="relu", also="matmul add"),
    call("lstm", ops.lstm, *_long),
    call("lstm_cell", ops.lstm_cell, t(2, 3), t(2, 2), t(2, 2), t(3, 8), t(2, 8), t(8), also="matmul add multiply"),
    call("reshape", ops.reshape, t(2, 3), (3, -1)),
    call("broadcast_to", ops.broadcast_to, t(2, 3), (2, 2, 3)),
    call("permute", ops.permute, t(2, 3), (1, 0)),
    call("transpose", ops.transpose, t(2, 3), axes=(0, 1)),
    call("flip", ops.flip, t(2, 3), axes=(0,)),
    call("pad", ops.pad, t(2, 3), ((1, 1), (0, 0)), value=0.5),
    call("dilate", ops.dilate, t(2, 3), (0,), 1),
    call("undilate", ops.undilate, t(2, 3), (0,), 1, also="dilate"),
    call("stack", ops.stack, [t(2, 3), t(2, 3)], axis=0),
    call("concatenate", ops.concatenate, [t(2, 3), t(2, 3)], axis=0),
    call("split", ops.split, t(2, 3), axis=0),
    call("cast", ops.cast, t(2, 3), "float64"),
    call("dropout", ops.dropout, t(2, 3), p=0.5, also="dropout_mask"),
    *(
        call(cls.__name__, lambda *args, cls=cls, x=x: cls(*args)(x), *arguments, also=also)
        for cls, arguments, also, x in (
            (ops.Summation, (0,), "sum", _x),
            (ops.Mean, (0,), "", _x),
            (ops.Max, (0,), "", _x),
            (ops.Reshape, (6,), "", _x),
            (ops.Permute, ((1, 0),), "", _x),
            (ops.Transpose, (), "", _x),
            (ops.BroadcastTo, ((2, 3),), "", _x),
            (ops.Flip, (0,), "", _x),
            (ops.Pad, (((1, 1), (0, 0)), 0.0), "", _x),
            (ops.Dilate, (0, 1), "", _x),
            (ops.UnDilate, (0, 1), "dilate", _x),
            (ops.Split, (0,), "", _x),
            (ops.Softmax, (0,), "", _x),
            (ops.LogSumExp, (0,), "", _x),
            (ops.AddScalar, (1,), "add", _x),
            (ops.PowerScalar, (2,), "power", _x),
            (ops.MaxPool2d, (2, 2, 0), "", _one_image),
            (ops.Cast, (ndl.float64,), "astype", _x),
        )
    ),
    call("gradients", ndl.gradients, Made(lambda d: ops.exp(t(2).make(d))), [t(2)], out_grad=t(2)),
    call("getitem", ops.getitem, t(2, 3), 1, also="index"),
    call("getitem", ops.getitem, t(2, 3), (slice(None), [0, 1]), also="index"),
    call("gather", ops.gather, t(3, 2), indices),
    call("embedding", ops.embedding, indices, t(3, 2), also="gather"),
    call("softmax_cross_entropy", ops.softmax_cross_entropy, t(2, 3), indices),
    call("TensorTuple", lambda x, i: x[i], Made(lambda d: ops.split(t(2, 3).make(d))), 0, fixed=1),
]


def _methods(cls, of: Made, **signatures) -> list:
    """Calls of methods: name=(arguments), or name=[(arguments), (arguments)]."""
    return [
        call(name, getattr(cls, name), of, *arguments, fixed=1, also=_METHOD_NAMES.get(name, ""))
        for name, several in signatures.items()
        for arguments in (several if isinstance(several, list) else [several])
    ]


_METHOD_NAMES = {
    "argmax": "argmax", "backward": "backward ones_like", "to": "to", "astype": "cast astype", "sum": "Summation sum",
}  # fmt: skip
_SELF = Made(lambda device: t(2, 3).make(device))
TENSORS = [
    *_methods(
        ndl.Tensor, t(2, 3),
        sum=[(), (0,)], mean=(1,), max=((0,),), argmax=(0,), reshape=[(3, 2), ((3, -1),)], broadcast_to=((2, 2, 3),),
        transpose=((0, 1),), permute=((1, 0),), matmul=(t(3, 2),), to=(the_device,), astype=("float16",),
        numpy=(), detach=(), __len__=(), __iter__=(),
    ),
    call("item", ndl.Tensor.item, t(), fixed=1),
    call("begin_read", ndl.Tensor.begin_read, t(), fixed=1),
    call("backward", lambda x, *args, **kwargs: ops.exp(x).backward(*args, **kwargs), t(2), t(2), create_graph=True, fixed=1),
    call("data", lambda x, value: setattr(x, "data", value), t(2, 3), t(2, 3), fixed=1),
    call("Tensor", ndl.Tensor, [1.0], device=the_device, dtype="float32", requires_grad=True),
    call("Parameter", ndl.Parameter, t(2), device=the_device, dtype="float16", also="Tensor"),
    *(
        call(symbol, function, t(2, 3), t(2, 3), fixed=1, also=name)
        for symbol, name, function in (
            ("+", "add", operator.add), ("-", "subtract", operator.sub), ("*", "multiply", operator.mul),
            ("/", "divide", operator.truediv), ("**", "power", operator.pow), ("==", "equal", operator.eq),
            ("!=", "not_equal", operator.ne), ("<", "less", operator.lt), ("<=", "less_equal", operator.le),
            (">", "less", operator.gt), (">=", "less_equal", operator.ge), ("+=", "add", operator.iadd),
            ("-=", "subtract", operator.isub), ("*=", "multiply", operator.imul), ("in", "equal", operator.contains),
        )
    ),
    call("@", operator.matmul, t(2, 3), t(3, 2), fixed=1, also="matmul"),
]  # fmt: skip

ARRAYS = [
    *_methods(
        NDArray, a(2, 3),
        sum=[(), (0, True)], max=(1, False), min=(0,), argmax=(0, True), reshape=[(3, 2), ((-1,),)], permute=((1, 0),),
        broadcast_to=((2, 2, 3),), flip=(0,), pad=(((1, 1), (0, 0)), 2.0), to=(the_device,), astype=("int8",),
        maximum=(a(2, 3),), numpy=(), copy=(), compact=(), log=(), exp=(), tanh=(),
    ),
    call("getitem", NDArray.__getitem__, a(2, 3), 1, fixed=1, also="index"),
    call("getitem", NDArray.__getitem__, a(2, 3), (slice(None), [0, 1]), fixed=1, also="index"),
    call("setitem", NDArray.__setitem__, a(2, 3), 1, 2.0, fixed=1, also="index"),
    call("setitem", NDArray.__setitem__, a(2, 3), [1], a(3), fixed=1, also="index"),
    call("setitem", NDArray.__setitem__, a(2, 3, dtype="int32"), (0, 1), 3, fixed=1, also="index"),
    call("one_hot", lambda device, *args, **kwargs: device.one_hot(*args, **kwargs), the_device, 3, [0, 1], dtype="int8", fixed=1),
    call("squeeze", NDArray.squeeze, a(1, 3), 0, fixed=1),
    *(
        call(symbol, function, a(2, 3), a(2, 3), fixed=1, also=f"{name} Tensor")
        for symbol, name, function in (
            ("+", "add", operator.add), ("-", "subtract", operator.sub), ("*", "multiply", operator.mul),
            ("/", "divide", operator.truediv), ("//", "floor_divide", operator.floordiv), ("%", "remainder", operator.mod),
            ("**", "power", operator.pow), ("==", "equal", operator.eq), ("<", "less", operator.lt),
            (">", "less", operator.gt), ("in", "equal", operator.contains),
        )
    ),
    call("@", operator.matmul, a(2, 3), a(3, 2), fixed=1, also="matmul"),
    call("&", operator.and_, a(2, dtype="bool"), a(2, dtype="bool"), fixed=1, also="logical_and"),
    call("array", nd.array, [1.0], dtype="float32", device=the_device),
    call("NDArray", NDArray, [1.0], dtype="float32", device=the_device, also="array"),
    call("empty", nd.empty, (2, 3), dtype="float32", device=the_device),
    call("full", nd.full, (2, 3), 1.5, dtype="float32", device=the_device),
    call("zeros", nd.zeros, (2, 3), dtype="int32", device=the_device),
    call("ones", nd.ones, 3, dtype="int32", device=the_device),
    call("from_dlpack", nd.from_dlpack, np.ones(3)),
    call("promote_types", ndl.promote_types, ndl.float32, ndl.int8),
    *(call(name, getattr(elementwise, name), a(2, 3)) for name in ("exp", "abs", "floor", "ceil", "sign", "relu")),
    *(call(name, getattr(elementwise, name), a(2, 3), a(2, 3)) for name in ("add", "floor_divide", "maximum", "less")),
    call("where", elementwise.where, a(2, 3, dtype="bool"), a(2, 3), a(2, 3)),
    call("matmul", matmul.matmul, a(2, 3), a(3, 2)),
    call("linear", matmul.linear, a(2, 3), a(3, 2), a(2), nonlinearity="relu"),
    call("conv2d", conv.conv2d, a(1, 4, 4, 2), a(3, 3, 2, 3), stride=1, padding=1),
    call("max_pool2d", pool.max_pool2d, a(1, 4, 4, 2), 2, 2, padding=0),
    call("avg_pool2d", pool.avg_pool2d, a(1, 4, 4, 2), 2, 2, padding=0),
    call("batch_norm", norm.batch_norm, a(4, 3), a(3), a(3), 1e-5, nonlinearity=None),
    call("layer_norm", norm.layer_norm, a(4, 3), a(3), a(3), 1e-5),
    *(call(name, getattr(reduce, name), a(2, 3), axis=0, keepdims=True) for name in ("sum", "max", "min", "argmin")),
    call("softmax", softmax.softmax, a(2, 3), axis=1),
    call("log_softmax", softmax.log_softmax, a(2, 3), axis=1),
    call("logsumexp", softmax.logsumexp, a(2, 3), axes=1, keepdims=True),
    call("rnn", rnn.rnn, a(3, 2, 3), a(3, 2), a(2, 2), a(2), a(2, 2), "tanh"),
    call("uniform", random.uniform, (2, 3), dtype="float32", device=the_device),
    call("normal", random.normal, (2, 3), dtype="float64", device=the_device),
    call("dropout_mask", random.dropout_mask, (2, 3), 0.5, dtype="float32", device=the_device),
    call("cuda", ndl.cuda, 0),
    call("manual_seed", ndl.manual_seed, 3),
    call("set_state", random.set_state, (3, 4)),
    *(
        call(name, lambda device, *args, name=name, **kwargs: getattr(device, name)(*args, **kwargs), the_device, 2, 3,
             fixed=1, dtype="float32")
        for name in ("zeros", "ones", "rand", "randn")
    ),
    call("full", lambda device, *args, **kwargs: device.full(*args, **kwargs), the_device, (2, 3), 1, dtype="int8", fixed=1),
]  # fmt: skip
