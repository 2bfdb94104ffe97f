"""Element-wise operations. Operands broadcast; each gradient is summed back to its operand's shape."""

from __future__ import annotations

import math

from needle.autograd import Op, Tensor
from needle.backend_ndarray import elementwise as array_api
from needle.backend_ndarray import ndarray
from needle.backend_ndarray.dtype import DType, as_dtype
from needle.backend_ndarray.spec import Spec
from needle.ops.reduce import summation
from needle.ops.shape import reshape


def unbroadcast(grad: Tensor, like: Tensor) -> Tensor:
    """The transpose of a broadcast: sums `grad` over the axes along which `like` was repeated."""
    if grad.shape == like.shape:
        return grad
    new_axes = grad.ndim - like.ndim
    repeated = [new_axes + i for i, extent in enumerate(like.shape) if extent == 1 and grad.shape[new_axes + i] != 1]
    axes = (*range(new_axes), *repeated)
    return reshape(summation(grad, axes) if axes else grad, like.shape)


class EWiseAdd(Op):
    """a + b"""

    def infer(self, a, b):
        return array_api.infer_binary("add", a, b)

    def compute(self, a, b):
        return array_api.add(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return unbroadcast(out_grad, a), unbroadcast(out_grad, b)


class EWiseSub(Op):
    """a - b"""

    def infer(self, a, b):
        return array_api.infer_binary("subtract", a, b)

    def compute(self, a, b):
        return array_api.subtract(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return unbroadcast(out_grad, a), unbroadcast(-out_grad, b) if b.requires_grad else None


class EWiseMul(Op):
    """a * b"""

    def infer(self, a, b):
        return array_api.infer_binary("multiply", a, b)

    def compute(self, a, b):
        return array_api.multiply(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return (
            unbroadcast(out_grad * b, a) if a.requires_grad else None,
            unbroadcast(out_grad * a, b) if b.requires_grad else None,
        )


class EWiseDiv(Op):
    """a / b"""

    def infer(self, a, b):
        return array_api.infer_binary("divide", a, b)

    def compute(self, a, b):
        return array_api.divide(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        by_b = out_grad / b
        return unbroadcast(by_b, a), unbroadcast(-by_b * (a / b), b) if b.requires_grad else None


class EWisePow(Op):
    """a^b; d/da = b a^(b-1), d/db = a^b log(a), taken as 0 where a is 0"""

    def infer(self, a, b):
        return array_api.infer_binary("power", a, b)

    def compute(self, a, b):
        return array_api.power(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        grad_b = None
        if b.requires_grad:
            grad_b = unbroadcast(out_grad * node * log(where(equal(a, 0), 1, a)), b)
        return unbroadcast(out_grad * b * a ** (b - 1), a) if a.requires_grad else None, grad_b


class AddScalar(Op):
    """a + scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("add", a, self.scalar)

    def compute(self, a):
        return array_api.add(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad


class MulScalar(Op):
    """a * scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("multiply", a, self.scalar)

    def compute(self, a):
        return array_api.multiply(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad * self.scalar


class DivScalar(Op):
    """a / scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("divide", a, self.scalar)

    def compute(self, a):
        return array_api.divide(a, self.scalar)

    def gradient(self, out_grad, node):
        return out_grad / self.scalar


class PowerScalar(Op):
    """a^scalar"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("power", a, self.scalar)

    def compute(self, a):
        return array_api.power(a, self.scalar)

    def gradient(self, out_grad, node):
        if self.scalar == 0:
            return out_grad * 0
        return out_grad * (self.scalar * power_scalar(node.inputs[0], self.scalar - 1))


class ScalarPower(Op):
    """scalar^a; d/da = scalar^a log(scalar)"""

    def __init__(self, scalar: float) -> None:
        self.scalar = scalar

    def infer(self, a):
        return array_api.infer_binary("power", self.scalar, a)

    def compute(self, a):
        return array_api.power(self.scalar, a)

    def gradient(self, out_grad, node):
        return out_grad * node * math.log(self.scalar)


class _Unary(Op):
    """An operation whose array function has the name `kernel`."""

    kernel: str

    def infer(self, a):
        return array_api.infer_unary(self.kernel, a)

    def compute(self, a):
        return getattr(array_api, self.kernel)(a)


class Negate(_Unary):
    kernel = "negate"

    def gradient(self, out_grad, node):
        return -out_grad


class Abs(_Unary):
    """|a|; the derivative at 0 is 0"""

    kernel = "abs"

    def gradient(self, out_grad, node):
        return out_grad * sign(node.inputs[0])


class Exp(_Unary):
    kernel = "exp"

    def gradient(self, out_grad, node):
        return out_grad * node


class Log(_Unary):
    kernel = "log"

    def gradient(self, out_grad, node):
        return out_grad / node.inputs[0]


class Sqrt(_Unary):
    kernel = "sqrt"

    def gradient(self, out_grad, node):
        return out_grad / (2 * node)


class Sin(_Unary):
    kernel = "sin"

    def gradient(self, out_grad, node):
        return out_grad * cos(node.inputs[0])


class Cos(_Unary):
    kernel = "cos"

    def gradient(self, out_grad, node):
        return -out_grad * sin(node.inputs[0])


class Tanh(_Unary):
    """d/da = 1 - tanh(a)^2"""

    kernel = "tanh"

    def gradient(self, out_grad, node):
        return out_grad * (1 - node * node)


class Sigmoid(_Unary):
    """1 / (1 + e^-a); d/da = sigmoid(a) (1 - sigmoid(a))"""

    kernel = "sigmoid"

    def gradient(self, out_grad, node):
        return out_grad * (node * (1 - node))


class Erf(_Unary):
    """The error function; d/da = 2 / sqrt(pi) e^(-a^2)"""

    kernel = "erf"

    def gradient(self, out_grad, node):
        a = node.inputs[0]
        return out_grad * (2 / math.sqrt(math.pi) * exp(-(a * a)))


class ReLU(_Unary):
    """max(a, 0); the derivative at 0 is 0"""

    kernel = "relu"

    def gradient(self, out_grad, node):
        return where(greater(node, 0), out_grad, 0)


class Sign(_Unary):
    kernel = "sign"
    differentiable = False


class Cast(Op):
    """a in another dtype. Gradients come back in a's own dtype; there are none to integers."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype

    def infer(self, a):
        return Spec(a.shape, self.dtype)

    def compute(self, a):
        return a.astype(self.dtype)

    def gradient(self, out_grad, node):
        a = node.inputs[0]
        return cast(out_grad, a.dtype) if a.dtype.kind == "floating" else None


class _Extremum(Op):
    """maximum or minimum; where both are equal the gradient is shared evenly."""

    kernel: str

    def infer(self, a, b):
        return array_api.infer_binary(self.kernel, a, b)

    def compute(self, a, b):
        return getattr(array_api, self.kernel)(a, b)

    def gradient(self, out_grad, node):
        a, b = node.inputs
        half = out_grad * 0.5
        tie = equal(a, b)
        chosen_a, chosen_b = equal(node, a), equal(node, b)
        return (
            unbroadcast(where(tie, half, where(chosen_a, out_grad, 0)), a),
            unbroadcast(where(tie, half, where(chosen_b, out_grad, 0)), b),
        )


class Maximum(_Extremum):
    kernel = "maximum"


class Minimum(_Extremum):
    kernel = "minimum"


class Where(Op):
    """condition ? a : b"""

    def infer(self, condition, a, b):
        return array_api.infer_where(condition, a, b)

    def compute(self, condition, a, b):
        return array_api.where(condition, a, b)

    def gradient(self, out_grad, node):
        condition, a, b = node.inputs
        return (
            None,
            unbroadcast(where(condition, out_grad, 0), a) if a.requires_grad else None,
            unbroadcast(where(condition, 0, out_grad), b) if b.requires_grad else None,
        )


class Compare(Op):
    """equal, not_equal, less or less_equal; a bool Tensor without gradient"""

    differentiable = False

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def infer(self, a, b):
        return array_api.infer_binary(self.kernel, a, b)

    def compute(self, a, b):
        return getattr(array_api, self.kernel)(a, b)


def _constant(x, like: Tensor) -> Tensor:
    """A number or array as a Tensor beside `like`, without gradient."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (bool, int, float)):
        spec = array_api.infer_binary("add", like, x)
        return Tensor.make_const(ndarray.full((), x, spec.dtype, like.device))
    return Tensor(x, device=like.device, requires_grad=False)


def _is_number(x) -> bool:
    return not isinstance(x, Tensor) and not hasattr(x, "__len__") and getattr(x, "shape", ()) == ()


def add(a, b) -> Tensor:
    """a + b"""
    if _is_number(b):
        return AddScalar(b)(a)
    return AddScalar(a)(b) if _is_number(a) else EWiseAdd()(_constant(a, b), _constant(b, a))


def add_scalar(a: Tensor, scalar: float) -> Tensor:
    """a + scalar"""
    return AddScalar(scalar)(a)


def subtract(a, b) -> Tensor:
    """a - b"""
    if _is_number(b):
        return AddScalar(-b)(a)
    return AddScalar(a)(Negate()(b)) if _is_number(a) else EWiseSub()(_constant(a, b), _constant(b, a))


def multiply(a, b) -> Tensor:
    """a * b"""
    if _is_number(b):
        return MulScalar(b)(a)
    return MulScalar(a)(b) if _is_number(a) else EWiseMul()(_constant(a, b), _constant(b, a))


def mul_scalar(a: Tensor, scalar: float) -> Tensor:
    """a * scalar"""
    return MulScalar(scalar)(a)


def divide(a, b) -> Tensor:
    """a / b; float32 for integers"""
    if _is_number(b):
        return DivScalar(b)(a)
    return MulScalar(a)(PowerScalar(-1.0)(b)) if _is_number(a) else EWiseDiv()(_constant(a, b), _constant(b, a))


def divide_scalar(a: Tensor, scalar: float) -> Tensor:
    """a / scalar"""
    return DivScalar(scalar)(a)


def power(a, b) -> Tensor:
    """a^b"""
    if _is_number(b):
        return PowerScalar(b)(a)
    return ScalarPower(a)(b) if _is_number(a) else EWisePow()(_constant(a, b), _constant(b, a))


def power_scalar(a: Tensor, scalar: float) -> Tensor:
    """a^scalar"""
    return PowerScalar(scalar)(a)


def ewise_pow(a: Tensor, b: Tensor) -> Tensor:
    """a^b"""
    return EWisePow()(a, b)


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
    return 0.5 * a * (1 + erf(a * math.sqrt(0.5)))


def cast(a: Tensor, dtype: str | DType) -> Tensor:
    """a in another dtype; a itself if it has that one."""
    dtype = as_dtype(dtype)
    return a if dtype is a.dtype else Cast(dtype)(a)


def maximum(a: Tensor, b: Tensor | float) -> Tensor:
    """The larger one, element by element; NaN if either is."""
    return Maximum()(a, _constant(b, a))


def minimum(a: Tensor, b: Tensor | float) -> Tensor:
    """The smaller one, element by element; NaN if either is."""
    return Minimum()(a, _constant(b, a))


def where(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """a where the condition (bool) is true, else b."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else Tensor(0.0, device=condition.device)
    return Where()(condition, _constant(a, like), _constant(b, like))


def equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a == b, as bool; no gradient"""
    return Compare("equal")(a, _constant(b, a))


def not_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a != b, as bool; no gradient"""
    return Compare("not_equal")(a, _constant(b, a))


def less(a: Tensor, b: Tensor | float) -> Tensor:
    """a < b, as bool; no gradient"""
    return Compare("less")(a, _constant(b, a))


def less_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a <= b, as bool; no gradient"""
    return Compare("less_equal")(a, _constant(b, a))


def greater(a: Tensor, b: Tensor | float) -> Tensor:
    """a > b, as bool; no gradient"""
    return Compare("less")(_constant(b, a), a)


def greater_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """a >= b, as bool; no gradient"""
    return Compare("less_equal")(_constant(b, a), a)


def zeros_like(a: Tensor) -> Tensor:
    """Zeros with the shape, dtype and device of a; no gradient."""
    return Tensor.make_const(ndarray.full(a.shape, 0, a.dtype, a.device))


def ones_like(a: Tensor) -> Tensor:
    """Ones with the shape, dtype and device of a; no gradient."""
    return Tensor.make_const(ndarray.full(a.shape, 1, a.dtype, a.device))
