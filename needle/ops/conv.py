"""Two-dimensional convolution, channels-last. Formula and shapes: needle/backend_ndarray/conv.py.

The convolution and its two derivatives are linear in each operand, and the derivatives of each of the three are the
other two. So derivatives of every order need only this file.
"""

from __future__ import annotations

from needle.autograd import Op, Tensor
from needle.backend_ndarray import NDArray
from needle.backend_ndarray import conv as array_api
from needle.backend_ndarray.arguments import whole


class Conv(Op):
    """x (N, H, W, C_in), weight (K, K, C_in, C_out) and optionally bias (C_out,) to (N, H', W', C_out)"""

    def __init__(self, stride: int = 1, padding: int = 0) -> None:
        self.stride = whole("conv", "stride", stride, 1)
        self.padding = whole("conv", "padding", padding)

    def compute(self, x: NDArray, weight: NDArray, bias: NDArray | None = None) -> NDArray:
        return array_api.conv2d(x, weight, self.stride, self.padding, bias)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *bias = node.inputs
        settings = (self.stride, self.padding)
        return (
            ConvBackwardData(x.shape, *settings)(out_grad, weight) if x.requires_grad else None,
            ConvBackwardWeight(weight.shape, *settings)(x, out_grad) if weight.requires_grad else None,
            *(out_grad.sum((0, 1, 2)) if value.requires_grad else None for value in bias),
        )


class ConvBackwardData(Op):
    """The adjoint of x from (grad_out, weight)"""

    def __init__(self, x_shape: tuple[int, ...], stride: int, padding: int) -> None:
        self.x_shape = x_shape
        self.stride = stride
        self.padding = padding

    def compute(self, grad_out: NDArray, weight: NDArray) -> NDArray:
        return array_api.conv2d_backward_data(grad_out, weight, self.x_shape, self.stride, self.padding)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        grad_out, weight = node.inputs
        return (
            conv(out_grad, weight, self.stride, self.padding),
            ConvBackwardWeight(weight.shape, self.stride, self.padding)(out_grad, grad_out),
        )


class ConvBackwardWeight(Op):
    """The adjoint of weight from (x, grad_out)"""

    def __init__(self, weight_shape: tuple[int, ...], stride: int, padding: int) -> None:
        self.weight_shape = weight_shape
        self.stride = stride
        self.padding = padding

    def compute(self, x: NDArray, grad_out: NDArray) -> NDArray:
        return array_api.conv2d_backward_weight(x, grad_out, self.weight_shape, self.stride, self.padding)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, ...]:
        x, grad_out = node.inputs
        return (
            ConvBackwardData(x.shape, self.stride, self.padding)(grad_out, out_grad),
            conv(x, out_grad, self.stride, self.padding),
        )


def conv(a: Tensor, b: Tensor, stride: int = 1, padding: int = 1, bias: Tensor | None = None) -> Tensor:
    """Convolves images a (N, H, W, C_in) with weights b (K, K, C_in, C_out); adds bias (C_out,) if there is one."""
    return Conv(stride, padding)(a, b) if bias is None else Conv(stride, padding)(a, b, bias)
