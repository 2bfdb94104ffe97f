"""The names that CMU 10-414/714 gives to functions which have NumPy's or PyTorch's name here.

The course's programs run with them; Needle itself uses the other names. The names of the other operations, and of the
Op classes, are the course's.
"""

from __future__ import annotations

from needle.autograd import Tensor
from needle.ops.arithmetic import AddScalar, DivScalar, EWisePow, MulScalar, PowerScalar
from needle.ops.broadcast import sum
from needle.ops.softmax import log_softmax

summation = sum
logsoftmax = log_softmax


def add_scalar(a: Tensor, scalar: float) -> Tensor:
    """a + scalar"""
    return AddScalar(scalar)(a)


def mul_scalar(a: Tensor, scalar: float) -> Tensor:
    """a * scalar"""
    return MulScalar(scalar)(a)


def divide_scalar(a: Tensor, scalar: float) -> Tensor:
    """a / scalar"""
    return DivScalar(scalar)(a)


def power_scalar(a: Tensor, scalar: float) -> Tensor:
    """a^scalar"""
    return PowerScalar(scalar)(a)


def ewise_pow(a: Tensor, b: Tensor) -> Tensor:
    """a^b"""
    return EWisePow()(a, b)
