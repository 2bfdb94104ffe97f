"""Operations that reduce, move and multiply, and PyTorch's. Images are channels-last in needle.ops, not in PyTorch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from needle import ops
from tests.peers.comparison import Precision
from tests.peers.draws import DRAWS, FINITE
from tests.peers.peer import Peer, condition, finite, labels, one_nan

# By how many terms a sum has, or how many steps there are
_FEW, _SOME, _MANY = Precision(4, 4), Precision(16, 8), Precision(4, 64)
_LAYERED, _STEPPED = Precision(32, 32), Precision(64, 64)

_SHAPES = (((),), ((5,),), ((3, 5),), ((2, 3, 4),))
_MATRICES = (((3, 5),), ((1, 4),), ((7, 1),), ((2, 3, 4),))
_NEAR = tuple(
    draw for draw in DRAWS if draw != "far_apart"
)  # PyTorch's e^(x - logsumexp) is off by x units of rounding
_NOT_INFINITE = ("normal", "ties", "nan", "large", "small", "far_apart")


def _axes(a: torch.Tensor, axes) -> tuple[int, ...]:
    return tuple(range(a.ndim)) if axes is None else (axes,) if isinstance(axes, int) else axes


REDUCTIONS = [
    *(
        Peer(op, lambda a, ours=ours, axes=axes: ours(a, axes), lambda a, f=f, axes=axes: f(a, _axes(a, axes)), cases,
             f"axes={axes}", draws, precision=replace(_SOME, of_operands=4 if op in ("sum", "mean") else 0))
        for axes, cases in ((None, _SHAPES), (0, _MATRICES), (-1, _MATRICES), ((0, 1), _MATRICES), ((-1, 0), _MATRICES))
        for op, ours, f, draws in (
            ("sum", ops.sum, torch.sum, tuple(DRAWS)),
            ("mean", ops.mean, torch.mean, tuple(DRAWS)),
            ("logsumexp", ops.logsumexp, torch.logsumexp, _NEAR),
        )
    ),
    # The gradient of amax is NaN for all where there is one NaN; max(), which has no axes, has it for those alone.
    *(
        Peer(op, lambda a, ours=ours, axes=axes: ours(a, axes), lambda a, f=f, axes=axes: f(a, _axes(a, axes)),
             _MATRICES, f"axes={axes}", tuple(draw for draw in (*FINITE, "infinite", "large")))
        for axes in (0, -1, (0, 1))
        for op, ours, f in (("max", ops.max, torch.amax), ("min", ops.min, torch.amin))
    ),
    Peer("max", ops.max, torch.max, _SHAPES),
    Peer("min", ops.min, torch.min, _SHAPES),
    Peer("sum", lambda a: ops.sum(a, 0), lambda a: a.sum(0), (((0, 3),), ((3, 0),)), "of nothing"),
]  # fmt: skip

SOFTMAX = [
    *(
        Peer(op, lambda a, ours=ours, axis=axis: ours(a, axis), lambda a, f=f, axis=axis: f(a, axis), _MATRICES,
             f"axis={axis}", precision=_FEW)
        for axis in (-1, 0)
        for op, ours, f in (("softmax", ops.softmax, torch.softmax), ("log_softmax", ops.log_softmax, torch.log_softmax))
    ),
    Peer("softmax_cross_entropy", ops.softmax_cross_entropy, lambda x, y: F.cross_entropy(x, y, reduction="none"),
         tuple(((n, classes), labels((n,), classes)) for n, classes in ((5, 3), (1, 10), (7, 1), (4, 40))),
         precision=_FEW),
]  # fmt: skip

_INDICES = ((slice(1, None),), (..., 0), (None, slice(None), -1), (slice(None, None, 2), slice(1, 3)), (1,))

MOVES = [
    Peer("broadcast_to", lambda a: ops.broadcast_to(a, (2, 3, 4)), lambda a: a.broadcast_to((2, 3, 4)),
         (((),), ((4,),), ((3, 1),), ((1, 1, 4),)), precision=_SOME),
    Peer("concatenate", lambda a, b: ops.concatenate((a, b), 1), lambda a, b: torch.cat((a, b), 1),
         (((2, 3), (2, 1)), ((2, 0), (2, 3)), ((2, 3, 4), (2, 1, 4)))),
    Peer("flip", ops.flip, lambda a: a.flip(tuple(range(a.ndim))), _SHAPES),
    Peer("flip", lambda a: ops.flip(a, 1), lambda a: a.flip(1), _MATRICES, "axes=1"),
    *(
        Peer("getitem", lambda a, i=i: ops.getitem(a, i), lambda a, i=i: a[i], (((3, 4),), ((2, 5, 4),)), str(i))
        for i in _INDICES
    ),
    Peer("getitem", lambda a: ops.getitem(a, [0, -1, 0]), lambda a: a[[0, -1, 0]], _MATRICES, "[0, -1, 0]",
         precision=_FEW),
    Peer("getitem", ops.getitem, lambda a, c: a[c], (((6,), condition((6,))), ((3, 4), condition((3, 4)))), "mask"),
    Peer("getitem", lambda a, i, j: a[i, j], lambda a, i, j: a[i, j],
         (((3, 4), labels((5,), 3), labels((5,), 4)),), "[integers, integers]", precision=_FEW),
    Peer("getitem", lambda a, i: a[:, i], lambda a, i: a[:, i], (((3, 4), labels((5,), 4)),), "[:, integers]",
         precision=_FEW),
    Peer("gather", ops.gather, lambda a, i: a[i], (((6, 3), labels((4,), 6)), ((6,), labels((2, 3), 6))),
         precision=_FEW),
    Peer("embedding", lambda w, i: ops.embedding(i, w), lambda w, i: F.embedding(i, w),
         (((6, 3), labels((4,), 6)), ((6, 2), labels((9, 5), 6))), precision=_SOME),
    Peer("pad", lambda a: ops.pad(a, ((1, 2), (0, 3))), lambda a: F.pad(a, (0, 3, 1, 2)), (((2, 3),), ((1, 1),))),
    Peer("permute", lambda a: ops.permute(a, (2, 0, 1)), lambda a: a.permute(2, 0, 1), (((2, 3, 4),),)),
    Peer("reshape", lambda a: ops.reshape(a, (-1, 2)), lambda a: a.reshape(-1, 2), (((4, 3),), ((2,),), ((2, 3, 4),))),
    Peer("split", ops.split, torch.unbind, (((3, 4),), ((1,),), ((2, 3, 4),))),
    Peer("split", lambda a: ops.split(a, 1), lambda a: torch.unbind(a, 1), (((3, 4),), ((2, 3, 4),)), "axis=1"),
    Peer("stack", lambda a, b: ops.stack((a, b), -1), lambda a, b: torch.stack((a, b), -1), (((3, 4),) * 2, ((),) * 2)),
    Peer("transpose", ops.transpose, torch.Tensor.adjoint, (((3, 4),), ((2, 3, 4),))),
    Peer("transpose", lambda a: ops.transpose(a, (0, -1)), lambda a: a.transpose(0, -1), _MATRICES, "axes=(0, -1)"),
    Peer("dilate", lambda a: ops.dilate(a, (1,), 2), lambda a: _dilated(a, 3), (((2, 3),), ((4, 1, 2),))),
    Peer("undilate", lambda a: ops.undilate(a, (1,), 2), lambda a: a[:, ::3], (((2, 7),), ((4, 1, 2),))),
]  # fmt: skip


def _dilated(a: torch.Tensor, step: int) -> torch.Tensor:
    out = a.new_zeros((a.shape[0], a.shape[1] * step, *a.shape[2:]))
    out[:, ::step] = a
    return out


_FACTORS = (
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((3, 0), (0, 2)), ((33, 70), (70, 41)), ((4,), (2, 4, 5)),
)  # fmt: skip
_LAYER = (((3, 4), (4, 5), (5,)), ((2, 3, 4), (4, 1), (1,)), ((1, 1), (1, 1), (1,)), ((40, 33), (33, 17), (17,)))

PRODUCTS = [
    Peer("matmul", ops.matmul, torch.matmul, _FACTORS, draws=_NOT_INFINITE, precision=_MANY),
    Peer("linear", ops.linear, lambda x, w, b: F.linear(x, w.mT, b), _LAYER, draws=_NOT_INFINITE, precision=_MANY),
    Peer("linear", lambda *a: ops.linear(*a, "relu"), lambda x, w, b: F.relu(F.linear(x, w.mT, b)), _LAYER,
         'nonlinearity="relu"', _NOT_INFINITE, precision=_MANY),
]  # fmt: skip


def _images(function):
    """A function of images that are channels-first, for those that are channels-last."""
    return lambda x, *rest: function(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


# Weights are finite: whether one that is not is multiplied with padding is nobody's promise.
_SIZES = (((2, 6, 5, 3), (3, 3, 3, 4)), ((1, 8, 8, 1), (1, 1, 1, 2)), ((1, 7, 7, 16), (5, 5, 16, 16)))
_CONVOLUTIONS = tuple((x, finite(w)) for x, w in _SIZES)
_WITH_BIAS = tuple((x, finite(w), (w[-1],)) for x, w in _SIZES)
_IMAGES = (((2, 6, 6, 3),), ((1, 4, 5, 1),), ((3, 7, 4, 20),))
_ONE_NAN = tuple(draw for draw in DRAWS if draw != "nan")  # of several in a window PyTorch takes the last
_POOLS = ((2, None, 0), (3, 2, 1), (3, 1, 0), (2, 2, 1), (1, 2, 0))

IMAGES = [
    *(
        Peer("conv", lambda x, w, s=s, p=p: ops.conv(x, w, s, p),
             _images(lambda x, w, s=s, p=p: F.conv2d(x, w.permute(3, 2, 0, 1), None, s, p)), _CONVOLUTIONS,
             f"stride={s}, padding={p}", _NOT_INFINITE, precision=_MANY)
        for s, p in ((1, 0), (1, 1), (2, 1), (2, 2), (3, 0))
    ),
    Peer("conv", lambda x, w, b: ops.conv(x, w, 1, 1, b),
         _images(lambda x, w, b: F.conv2d(x, w.permute(3, 2, 0, 1), b, 1, 1)), _WITH_BIAS, "with bias", _NOT_INFINITE,
         precision=_MANY),
    *(
        Peer("max_pool2d", lambda x, k=k, s=s, p=p: ops.max_pool2d(x, k, s, p),
             _images(lambda x, k=k, s=s, p=p: F.max_pool2d(x, k, s, p)), _IMAGES + ((one_nan((1, 6, 6, 1)),),),
             f"kernel={k}, stride={s}, padding={p}", _ONE_NAN, precision=_FEW)
        for k, s, p in _POOLS
    ),
    *(
        Peer("avg_pool2d", lambda x, k=k, s=s, p=p: ops.avg_pool2d(x, k, s, p),
             _images(lambda x, k=k, s=s, p=p: F.avg_pool2d(x, k, s, p)), _IMAGES,
             f"kernel={k}, stride={s}, padding={p}",
             precision=_SOME)
        for k, s, p in _POOLS
    ),
]  # fmt: skip

_ROWS = tuple((shape, shape[-1:], shape[-1:]) for shape in ((5, 3), (1, 8), (2, 4, 6), (2, 3, 3, 20)))


def _channels_second(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(-1, 1)


def _batch_norm(x, w, b):
    out = F.batch_norm(_channels_second(x), None, None, w, b, training=True).movedim(1, -1)
    rows = x.detach().reshape(-1, x.shape[-1])
    wide = torch.promote_types(x.dtype, torch.float32)  # statistics of half types are float32
    return out, rows.to(wide).mean(0), rows.to(wide).var(0, correction=0)


def _inference(x, w, b, m, v):
    return F.batch_norm(_channels_second(x), m.detach(), v.detach() ** 2, w, b).movedim(1, -1)


NORMS = [
    Peer("layer_norm", ops.layer_norm, lambda x, w, b: F.layer_norm(x, w.shape, w, b), _ROWS, draws=FINITE + ("nan",),
         precision=_LAYERED),
    Peer("batch_norm", ops.batch_norm, _batch_norm, tuple(case for case in _ROWS if case[0][0] > 1),
         draws=FINITE + ("nan",), precision=_LAYERED),
    Peer("batch_norm", lambda *a: ops.batch_norm(*a, nonlinearity="relu")[0],
         lambda *a: torch.relu(_batch_norm(*a)[0]), tuple(case for case in _ROWS if case[0][0] > 1),
         'nonlinearity="relu"', FINITE, precision=_LAYERED),
    Peer("batch_norm_inference", lambda x, w, b, m, v: ops.batch_norm_inference(x, w, b, m.detach(), v.detach() ** 2),
         _inference, tuple((*case, case[1], case[1]) for case in _ROWS), draws=FINITE + ("nan",), precision=_LAYERED),
]  # fmt: skip


def _rnn_cell(x, h, w_ih, w_hh, b, nonlinearity="tanh"):
    cell = torch.rnn_tanh_cell if nonlinearity == "tanh" else torch.rnn_relu_cell
    return cell(x, h, w_ih.mT, w_hh.mT, b, torch.zeros_like(b))


def _lstm_cell(x, h, c, w_ih, w_hh, b):
    return torch.lstm_cell(x, (h, c), w_ih.mT, w_hh.mT, b, torch.zeros_like(b))


def _rnn(x, w_ih, w_hh, b, h, nonlinearity="tanh"):
    function = torch.rnn_tanh if nonlinearity == "tanh" else torch.rnn_relu
    weights = (w_ih.mT, w_hh.mT, b, torch.zeros_like(b))
    return function(x, h[None], weights, True, 1, 0.0, False, False, False)[0]


def _lstm(x, w_ih, w_hh, b, h, c):
    weights = (w_ih.mT, w_hh.mT, b, torch.zeros_like(b))
    out, _, cells = torch.lstm(x, (h[None], c[None]), weights, True, 1, 0.0, False, False, False)
    return out, cells[0]


def _recurrent(gates: int, steps: int | None, states: int, order: str):
    """Shapes of x, states and weights for B = 3, I = 4, H = 5, in the order in which the operation takes them."""
    x = (3, 4) if steps is None else (steps, 3, 4)
    weights = ((4, gates * 5), (5, gates * 5), (gates * 5,))
    return (x, *((3, 5),) * states, *weights) if order == "states first" else (x, *weights, *((3, 5),) * states)


_STEPS = tuple(draw for draw in FINITE if draw != "far_apart") + ("nan",)
_FLOAT = ("float32", "float64")
RECURRENT = [
    *(
        Peer("rnn_cell", lambda *a, n=n: ops.rnn_cell(*a, n), lambda *a, n=n: _rnn_cell(*a, n),
             (_recurrent(1, None, 1, "states first"),), n, _STEPS, _FLOAT, precision=_LAYERED)
        for n in ("tanh", "relu")
    ),
    *(
        Peer("rnn", lambda *a, n=n: ops.rnn(*a, n), lambda *a, n=n: _rnn(*a, n),
             tuple(_recurrent(1, steps, 1, "weights first") for steps in (1, 6)), n, _STEPS, _FLOAT, precision=_STEPPED)
        for n in ("tanh", "relu")
    ),
    Peer("lstm_cell", ops.lstm_cell, _lstm_cell, (_recurrent(4, None, 2, "states first"),), "", _STEPS, _FLOAT,
         precision=_STEPPED),
    Peer("lstm", ops.lstm, _lstm, tuple(_recurrent(4, steps, 2, "weights first") for steps in (1, 6)), "", _STEPS,
         _FLOAT, precision=_STEPPED),
]  # fmt: skip
