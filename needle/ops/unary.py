"""Functions of one operand, element by element."""

from __future__ import annotations

import math

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray.spec import Shaped, Spec
from needle.ops.cast import widened
from needle.ops.compare import where


class _Unary(Op):
    """An operation on one operand; `kernel` is the name of its array function."""

    kernel: str

    def infer(self, a: Shaped) -> Spec:
        return array_api.infer_unary(self.kernel, a)

    def compute(self, a: NDArray) -> NDArray:
        out: NDArray = getattr(array_api, self.kernel)(a)
        return out


class Negate(_Unary):
    kernel = "negate"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -out_grad


class Abs(_Unary):
    """|a|; the derivative at 0 and at NaN is 0"""

    kernel = "abs"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = node.inputs[0]
        return out_grad * where(a == a, sign(a), 0)


class Exp(_Unary):
    kernel = "exp"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * node


class Log(_Unary):
    kernel = "log"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad / node.inputs[0]


class Sqrt(_Unary):
    kernel = "sqrt"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad / (2 * node)


class Sin(_Unary):
    kernel = "sin"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * cos(node.inputs[0])


class Cos(_Unary):
    kernel = "cos"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return -out_grad * sin(node.inputs[0])


class Tanh(_Unary):
    """d/da = 1 - tanh(a)^2"""

    kernel = "tanh"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        y = widened(node)
        return out_grad * (1 - y * y)


class Sigmoid(_Unary):
    """1 / (1 + e^-a); d/da = sigmoid(a) (1 - sigmoid(a))"""

    kernel = "sigmoid"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        y = widened(node)
        return out_grad * (y * (1 - y))


class Erf(_Unary):
    """The error function; d/da = 2 / sqrt(pi) e^(-a^2)"""

    kernel = "erf"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        a = widened(node.inputs[0])
        return out_grad * (2 / math.sqrt(math.pi) * exp(-(a * a)))


class ReLU(_Unary):
    """max(a, 0); the derivative at 0 is 0, at NaN 1"""

    kernel = "relu"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return ReLUBackward()(out_grad, node)


class ReLUBackward(Op):
    """a <= 0 ? 0 : grad, where a is the output of ReLU"""

    def infer(self, grad: Shaped, a: Shaped) -> Spec:
        return array_api.infer_binary("relu_backward", grad, a)

    def compute(self, grad: NDArray, a: NDArray) -> NDArray:
        return array_api.relu_backward(grad, a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        return ReLUBackward()(out_grad, node.inputs[1]), None


class GELU(_Unary):
    """a P(X <= a) for a standard normal X; d/da = P(X <= a) + a p(a), p being the density"""

    kernel = "gelu"

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return GELUBackward()(out_grad, node.inputs[0])


class GELUBackward(Op):
    """grad (P(X <= a) + a p(a)); d/da = grad p(a) (2 - a^2)"""

    def infer(self, grad: Shaped, a: Shaped) -> Spec:
        return array_api.infer_binary("gelu_backward", grad, a)

    def compute(self, grad: NDArray, a: NDArray) -> NDArray:
        return array_api.gelu_backward(grad, a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        grad, a = node.inputs
        square = widened(a) * a
        density = exp(square * -0.5) * (1 / math.sqrt(2 * math.pi))
        slope = where(density == 0, 0, density * (2 - square))  # if a is that far from 0, its square may be infinite
        return GELUBackward()(out_grad, a), out_grad * grad * slope


class Sign(_Unary):
    kernel = "sign"
    differentiable = False


def negate(a: Tensor) -> Tensor:
    """-a"""
    return Negate()(a)


def abs(a: Tensor) -> Tensor:
    """|a|"""
    return Abs()(a)


def sign(a: Tensor) -> Tensor:
    """-1, 0 or 1; no gradient"""
    return Sign()(a)


def exp(a: Tensor) -> Tensor:
    """e^a"""
    return Exp()(a)


def log(a: Tensor) -> Tensor:
    """The natural logarithm."""
    return Log()(a)


def sqrt(a: Tensor) -> Tensor:
    """The square root."""
    return Sqrt()(a)


def sin(a: Tensor) -> Tensor:
    """The sine of a in radians."""
    return Sin()(a)


def cos(a: Tensor) -> Tensor:
    """The cosine of a in radians."""
    return Cos()(a)


def tanh(a: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(a)


def sigmoid(a: Tensor) -> Tensor:
    """1 / (1 + e^-a)"""
    return Sigmoid()(a)


def erf(a: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) * integral from 0 to a of e^(-t^2) dt."""
    return Erf()(a)


def relu(a: Tensor) -> Tensor:
    """max(a, 0)"""
    return ReLU()(a)


def gelu(a: Tensor) -> Tensor:
    """a * P(X <= a) for a standard normal X: a / 2 * (1 + erf(a / sqrt(2))) (Hendrycks and Gimpel 2016)."""
    return GELU()(a)
