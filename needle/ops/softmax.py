"""Softmax and related functions, and the softmax cross-entropy loss."""

from __future__ import annotations

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import softmax as array_api
from needle.backend_ndarray.shape import Axes
from needle.ops.broadcast import broadcast_to, expand_reduced, sum
from needle.ops.cast import widened
from needle.ops.compare import equal, where
from needle.ops.fused import FusedOp
from needle.ops.operands import with_ids
from needle.ops.shape import reshape
from needle.ops.unary import exp


class LogSumExp(Op):
    """log(sum(e^x)) over axes; d/dx = softmax(x)

    The gradient divides e^(x - out) by its sum. The sum is 1 except for the rounding of `out`, whose effect is large if
    x is large. (If an infinite x makes the sum NaN, there is no division.)
    """

    def __init__(self, axes: Axes = None) -> None:
        self.axes = axes

    def compute(self, x: NDArray) -> NDArray:
        return array_api.logsumexp(x, self.axes)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        x = widened(node.inputs[0])
        e = exp(x - expand_reduced(widened(node), x, self.axes))
        total = sum(e, self.axes)
        return e * expand_reduced(out_grad / where(total == total, total, 1), x, self.axes)


class Softmax(Op):
    """y = e^x / sum(e^x) along an axis; grad_x = y * (grad_y - sum(grad_y * y))"""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def compute(self, x: NDArray) -> NDArray:
        return array_api.softmax(x, self.axis)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        y = widened(node)
        inner = sum(out_grad * y, self.axis)
        return y * (out_grad - expand_reduced(inner, y, self.axis))


class LogSoftmax(Op):
    """y = x - log(sum(e^x)) along an axis; grad_x = grad_y - e^y * sum(grad_y)"""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def compute(self, x: NDArray) -> NDArray:
        return array_api.log_softmax(x, self.axis)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        out_grad = widened(out_grad)
        return out_grad - exp(widened(node)) * expand_reduced(sum(out_grad, self.axis), node, self.axis)


class SoftmaxCrossEntropy(FusedOp):
    """-log(softmax(logits)[label]) of each row, from logits (N, classes) and integer labels (N,)"""

    compute = staticmethod(array_api.softmax_cross_entropy)

    def decompose(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = Tensor(list(range(logits.shape[1])), device=logits.device, requires_grad=False)
        one_hot = equal(broadcast_to(reshape(labels, (-1, 1)), logits.shape), classes)
        return -sum(where(one_hot, log_softmax(logits), 0), 1)

    def fused_gradient(self, out_grad: Tensor, node: Tensor) -> tuple[NDArray | None, ...]:
        logits, labels = (value.cached_data for value in node.inputs)
        return array_api.softmax_cross_entropy_backward(logits, labels, out_grad.cached_data), None


_softmax_cross_entropy = SoftmaxCrossEntropy()


def logsumexp(a: Tensor, axes: Axes = None) -> Tensor:
    """log(sum(e^a)) over axes (None: all), shifted by the maximum so that nothing overflows."""
    return LogSumExp(axes)(a)


def softmax(a: Tensor, axis: int = -1) -> Tensor:
    """e^a / sum(e^a) along an axis."""
    return Softmax(axis)(a)


def log_softmax(a: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(a)) along an axis, without taking the logarithm of a rounded softmax."""
    return LogSoftmax(axis)(a)


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy loss of each row, (N,); logits (N, classes), labels (N,) whole numbers in 0..classes-1.

    Labels of a floating dtype (as from the course's loaders) are converted. Raises ShapeError for a label out of range,
    a fraction, NaN or infinity, on a GPU when the host next waits for it; DTypeError for bools.
    """
    return _softmax_cross_entropy(*with_ids("softmax_cross_entropy", logits, "label", labels))
