"""Operations that have one kernel forward and one backward, and can still be differentiated twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from needle.autograd import Op, Tensor, TensorTuple, Value, computing, gradients, is_recording
from needle.backend_ndarray import NDArray
from needle.ops.cast import widened
from needle.ops.shape import reshape


class FusedOp(Op):
    """Several operations fused into one forward kernel and one backward kernel.

    `decompose` is the same computation in small Ops: the version to read, to test against, and to differentiate twice.
    """

    def decompose(self, *inputs: Any) -> Tensor | tuple[Tensor, ...]:
        """Computes the result, or results, from `inputs` with other Ops."""
        raise NotImplementedError

    def fused_gradient(self, out_grad: Any, node: Any) -> tuple[NDArray | None, ...]:
        """`gradient` computed by the backward kernel, as arrays."""
        raise NotImplementedError

    def gradient(self, out_grad: Tensor | list[Tensor], node: Value) -> tuple[Tensor | None, ...]:
        if not is_recording():
            arrays = self.fused_gradient(out_grad, node)
            return tuple(None if array is None else Tensor.make_const(array) for array in arrays)
        out_grads = out_grad if isinstance(out_grad, list) else [out_grad]
        op = _FusedGradient(self, out_grad, node)
        grads = iter(op(*out_grads, *node.inputs))
        return tuple(next(grads) if there_is_one else None for there_is_one in op.has_gradient)


class _FusedGradient(Op):
    """The gradient of a FusedOp as an Op of its own, so that it can be differentiated again.

    Its inputs are the adjoints of the FusedOp's results, then the FusedOp's inputs. Its result is a TensorTuple of the
    adjoints that are not None. The backward kernel computes it, just as when no graph is kept. Its own gradient comes
    from differentiating the gradient of `decompose`.
    """

    def __init__(self, fused: FusedOp, out_grad: Tensor | list[Tensor], node: Value) -> None:
        self.fused = fused
        self.out_grad = out_grad
        self.node = node

    if TYPE_CHECKING:

        def __call__(self, *inputs: Tensor) -> TensorTuple: ...  # type: ignore[override]  # it has several results

    def compute(self, *arrays: NDArray) -> tuple[NDArray, ...]:
        grads = self.fused.fused_gradient(self.out_grad, self.node)
        del self.out_grad, self.node
        self.has_gradient = [grad is not None for grad in grads]
        return tuple(grad for grad in grads if grad is not None)

    def gradient(self, out_grad: list[Tensor], node: Tensor) -> tuple[Tensor | None, ...]:
        with computing(recording=True):
            # One Tensor may be several operands, and each operand has an adjoint of its own here, so the reshape gives
            # each its own node. Half types are computed in float32, so that results round once, as in the kernels.
            operands = [reshape(widened(value), value.shape) for value in node.inputs]
            inputs = operands[-len(self.has_gradient) :]
            out_grads = operands[: -len(self.has_gradient)]
            results = self.fused.decompose(*inputs)
            grads = gradients(results, inputs, out_grads if isinstance(results, tuple) else out_grads[0])
        grads = [grad for grad, there_is_one in zip(grads, self.has_gradient) if there_is_one]
        pairs = [(grad, adjoint) for grad, adjoint in zip(grads, out_grad) if grad is not None and grad.requires_grad]
        return tuple(gradients(tuple(grad for grad, _ in pairs), operands, [adjoint for _, adjoint in pairs]))
