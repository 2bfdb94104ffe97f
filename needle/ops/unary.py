"""Functions of one operand, element by element."""

from __future__ import annotations

import math

from needle.autograd import Op, Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.ops.cast import widened
from needle.ops.compare import where


class Negate(Op):
    compute = staticmethod(array_api.negate)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -out_grad


class Abs(Op):
    """|a|; the derivative at 0 and at NaN is 0"""

    compute = staticmethod(array_api.abs)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        return out_grad * where(a == a, sign(a), 0)


class Exp(Op):
    compute = staticmethod(array_api.exp)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * node


class Log(Op):
    compute = staticmethod(array_api.log)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad / node.inputs[0]


class Sqrt(Op):
    compute = staticmethod(array_api.sqrt)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad / (2 * node)


class Sin(Op):
    compute = staticmethod(array_api.sin)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * cos(node.inputs[0])


class Cos(Op):
    compute = staticmethod(array_api.cos)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -out_grad * sin(node.inputs[0])


class Tanh(Op):
    """d/da = 1 - tanh(a)^2"""

    compute = staticmethod(array_api.tanh)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return _tanh_backward(out_grad, node)


class TanhBackward(Op):
    """grad (1 - y^2), where y = tanh(a); d/dy = -2 grad y"""

    compute = staticmethod(array_api.tanh_backward)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        grad, y = node.inputs
        return _tanh_backward(out_grad, y), widened(out_grad) * grad * (-2 * widened(y))


class Sigmoid(Op):
    """1 / (1 + e^-a); d/da = sigmoid(a) (1 - sigmoid(a))"""

    compute = staticmethod(array_api.sigmoid)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return _sigmoid_backward(out_grad, node)


class SigmoidBackward(Op):
    """grad y (1 - y), where y = sigmoid(a); d/dy = grad (1 - 2y)"""

    compute = staticmethod(array_api.sigmoid_backward)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        grad, y = node.inputs
        return _sigmoid_backward(out_grad, y), widened(out_grad) * grad * (1 - 2 * widened(y))


class Erf(Op):
    """The error function; d/da = 2 / sqrt(pi) e^(-a^2)"""

    compute = staticmethod(array_api.erf)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = widened(node.inputs[0])
        return out_grad * (2 / math.sqrt(math.pi) * exp(-(a * a)))


class ReLU(Op):
    """max(a, 0); the derivative at 0 is 0, at NaN 1"""

    compute = staticmethod(array_api.relu)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return relu_backward(out_grad, node)


class ReLUBackward(Op):
    """a <= 0 ? 0 : grad, where a is the output of ReLU"""

    compute = staticmethod(array_api.relu_backward)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        return relu_backward(out_grad, node.inputs[1]), None


class GELU(Op):
    """a P(X <= a) for a standard normal X; d/da = P(X <= a) + a p(a), p being the density"""

    compute = staticmethod(array_api.gelu)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return gelu_backward(out_grad, node.inputs[0])


class GELUBackward(Op):
    """grad (P(X <= a) + a p(a)); d/da = grad p(a) (2 - a^2)"""

    compute = staticmethod(array_api.gelu_backward)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        grad, a = node.inputs
        square = widened(a) * a
        density = exp(square * -0.5) * (1 / math.sqrt(2 * math.pi))
        slope = where(density == 0, 0, density * (2 - square))  # if a is that far from 0, its square may be infinite
        return gelu_backward(out_grad, a), out_grad * grad * slope


class Sign(Op):
    compute = staticmethod(array_api.sign)
    differentiable = False


_negate = Negate()
_abs = Abs()
_exp = Exp()
_log = Log()
_sqrt = Sqrt()
_sin = Sin()
_cos = Cos()
_tanh = Tanh()
_tanh_backward = TanhBackward()
_sigmoid_backward = SigmoidBackward()
_sigmoid = Sigmoid()
_erf = Erf()
_relu = ReLU()
relu_backward = ReLUBackward()
_gelu = GELU()
gelu_backward = GELUBackward()
_sign = Sign()


def negate(a: Tensor) -> Tensor:
    """-a"""
    return _negate(a)


def abs(a: Tensor) -> Tensor:
    """|a|"""
    return _abs(a)


def sign(a: Tensor) -> Tensor:
    """-1, 0 or 1; no gradient"""
    return _sign(a)


def exp(a: Tensor) -> Tensor:
    """e^a"""
    return _exp(a)


def log(a: Tensor) -> Tensor:
    """The natural logarithm."""
    return _log(a)


def sqrt(a: Tensor) -> Tensor:
    """The square root."""
    return _sqrt(a)


def sin(a: Tensor) -> Tensor:
    """The sine of a in radians."""
    return _sin(a)


def cos(a: Tensor) -> Tensor:
    """The cosine of a in radians."""
    return _cos(a)


def tanh(a: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _tanh(a)


def sigmoid(a: Tensor) -> Tensor:
    """1 / (1 + e^-a)"""
    return _sigmoid(a)


def erf(a: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) * integral from 0 to a of e^(-t^2) dt."""
    return _erf(a)


def relu(a: Tensor) -> Tensor:
    """max(a, 0)"""
    return _relu(a)


def gelu(a: Tensor) -> Tensor:
    """a * P(X <= a) for a standard normal X: a / 2 * (1 + erf(a / sqrt(2))) (Hendrycks and Gimpel 2016)."""
    return _gelu(a)
