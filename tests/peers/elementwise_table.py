"""Operations that go element by element, and PyTorch's."""

from __future__ import annotations

import math

import torch

from needle import ops
from tests.peers import adjusted
from tests.peers.comparison import Precision
from tests.peers.draws import DRAWS
from tests.peers.peer import Peer, condition

_SHAPES = (((),), ((1,),), ((0, 3),), ((67,),), ((3, 5),), ((2, 3, 4),))
_PAIRS = (
    ((), ()),
    ((67,), (67,)),
    ((3, 5), (3, 5)),
    ((3, 5), (5,)),
    ((3, 1), (1, 5)),
    ((), (2, 3)),
    ((0, 3), (1, 3)),
    ((2, 1, 4), (3, 1)),
)


_NEAR = tuple(draw for draw in DRAWS if draw != "far_apart")  # where powers are, little would be left of most numbers


def _unary(op: str, theirs, **options) -> Peer:
    return Peer(op, getattr(ops, op), theirs, _SHAPES, **{"signed_zeros": True, **options})


def _binary(op: str, theirs, precision: Precision = Precision(4, 16, 16), signed_zeros: bool = True, **options) -> Peer:
    # A broadcast sums its gradients, of which little may be left.
    return Peer(op, getattr(ops, op), theirs, _PAIRS, signed_zeros=signed_zeros, precision=precision, **options)


UNARY = [
    _unary("abs", torch.abs),
    _unary("cos", torch.cos),
    _unary("erf", torch.erf),
    _unary("exp", torch.exp),
    _unary("gelu", adjusted.gelu, signed_zeros=False, draws=_NEAR, precision=Precision(16, of_one=16)),
    _unary("log", torch.log),
    _unary("negate", torch.neg),
    _unary("relu", torch.relu),
    _unary("sigmoid", torch.sigmoid, precision=Precision(4, of_one=4)),
    _unary("sign", adjusted.sign),
    _unary("sin", torch.sin),
    _unary("sqrt", torch.sqrt),
    _unary("tanh", torch.tanh, precision=Precision(4, of_one=4)),
]

BINARY = [
    _binary("add", torch.add),
    _binary("add_relu", lambda a, b: torch.relu(a + b)),
    _binary("divide", torch.div),
    _binary("ewise_pow", torch.pow, precision=Precision(8, 16, 16), draws=_NEAR),
    _binary("maximum", torch.maximum, signed_zeros=False),  # the standard leaves max(0, -0) open
    _binary("minimum", torch.minimum, signed_zeros=False),
    _binary("multiply", torch.mul),
    _binary("power", torch.pow, precision=Precision(8, 16, 16), draws=_NEAR),
    _binary("subtract", torch.sub),
    _binary("equal", torch.eq),
    _binary("greater", torch.gt),
    _binary("greater_equal", torch.ge),
    _binary("less", torch.lt),
    _binary("less_equal", torch.le),
    _binary("not_equal", torch.ne),
]

_NUMBERS = (0, 1, -1, 2, 3, 0.0, 0.5, -0.5, 2.5, -3.0, 1e-3, math.inf, -math.inf, math.nan)
_FEW = (0, 2, -0.5)  # for functions that others are made of
_EXPONENTS = tuple(number for number in _NUMBERS if number != 1e-3)


def _beside(op: str, settings: str, ours, theirs, options: dict) -> Peer:
    options = {"signed_zeros": True, "draws": ("normal", "ties")} | options
    return Peer(op, ours, theirs, (((),), ((67,),)), settings, **options)


def _right(op: str, theirs, number: float, **options) -> Peer:
    ours = getattr(ops, op)
    return _beside(op, f"(a, {number!r})", lambda a: ours(a, number), lambda a: theirs(a, number), options)


def _left(op: str, theirs, number: float, **options) -> Peer:
    ours = getattr(ops, op)
    return _beside(op, f"({number!r}, a)", lambda a: ours(number, a), lambda a: theirs(number, a), options)


BESIDE_NUMBERS = [
    *(_right("add", lambda a, b: a + b, n) for n in _NUMBERS),
    *(_right("add_scalar", lambda a, b: a + b, n) for n in _FEW),
    *(_right("subtract", lambda a, b: a - b, n) for n in _NUMBERS),
    *(_right("multiply", lambda a, b: a * b, n) for n in _NUMBERS),
    *(_right("mul_scalar", lambda a, b: a * b, n) for n in _FEW),
    *(_right("divide", lambda a, b: a / b, n) for n in _NUMBERS),
    *(_right("divide_scalar", lambda a, b: a / b, n) for n in _FEW),
    *(_right("power", adjusted.power, n, precision=Precision(8, 8)) for n in _EXPONENTS),
    *(_right("power_scalar", adjusted.power, n, precision=Precision(8, 8)) for n in _FEW),
    *(_right("equal", torch.eq, n) for n in _NUMBERS),
    *(_right("less", torch.lt, n) for n in _NUMBERS),
    *(_left("add", lambda a, b: a + b, n) for n in _NUMBERS),
    *(_left("subtract", lambda a, b: a - b, n) for n in _NUMBERS),
    *(_left("multiply", lambda a, b: a * b, n) for n in _NUMBERS),
    *(_left("divide", adjusted.number_divided, n) for n in _NUMBERS),
    *(_left("power", lambda a, b: a**b, n, precision=Precision(8, 8)) for n in _EXPONENTS),
    *(_right("maximum", lambda a, b: torch.maximum(a, a.new_tensor(b)), n, signed_zeros=False) for n in _NUMBERS),
    *(_right("minimum", lambda a, b: torch.minimum(a, a.new_tensor(b)), n, signed_zeros=False) for n in _NUMBERS),
]

OTHERS = [
    Peer("cast", lambda a: ops.cast(a, dtype), lambda a: a.to(getattr(torch, dtype)), _SHAPES, f'(a, "{dtype}")')
    for dtype in ("float32", "float64", "bfloat16", "float16")
] + [
    Peer("where", ops.where, torch.where, tuple((condition(a), a, b) for a, b in _PAIRS if a != ()),
         precision=Precision(4, 16, 16)),
    Peer("where", lambda c, a: ops.where(c, a, 0.5), lambda c, a: torch.where(c, a, 0.5), ((condition((5,)), (5,)),),
         "(c, a, 0.5)"),
    Peer("where", lambda c, a: ops.where(c, 2, a), lambda c, a: torch.where(c, 2, a), ((condition((5,)), (5,)),),
         "(c, 2, a)"),
    Peer("zeros_like", ops.zeros_like, torch.zeros_like, _SHAPES),
    Peer("ones_like", ops.ones_like, torch.ones_like, _SHAPES),
]  # fmt: skip
