"""The fully connected layer."""

from __future__ import annotations

from needle import init, ops
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.spec import check_nonlinearity
from needle.errors import ShapeError
from needle.nn.checks import check_counts, check_flags, check_tensor, parameter_options
from needle.nn.module import Module


class Linear(Module):
    """x @ weight + bias: (..., N, in_features) to (..., N, out_features).

    With the nonlinearity "relu", it computes max(x @ weight + bias, 0) in the same pass.
    weight (in_features, out_features) is initialized Kaiming uniform, on +-sqrt(6 / in_features); bias
    (1, out_features), drawn after it, on +-sqrt(6 / out_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
        nonlinearity: str | None = None,
    ) -> None:
        check_counts("Linear", in_features=in_features, out_features=out_features)
        check_flags("Linear", bias=bias)
        check_nonlinearity("Linear", nonlinearity)
        self.in_features = in_features
        self.out_features = out_features
        self.nonlinearity = nonlinearity
        options = parameter_options("Linear", device, dtype)
        self.weight = Parameter(init.kaiming_uniform(in_features, out_features, **options))
        self.bias = None
        if bias:
            self.bias = Parameter(init.kaiming_uniform(out_features, 1, **options).reshape((1, out_features)))

    def forward(self, x: Tensor) -> Tensor:
        check_tensor(self, "x", x)
        shape = x.shape
        if len(shape) < 2 or shape[-1] != self.in_features:
            raise ShapeError(f"{self}: an input of shape {shape}: expected (N, {self.in_features})")
        if self.bias is None:
            out = ops.matmul(x, self.weight)
            return ops.relu(out) if self.nonlinearity == "relu" else out
        return ops.linear(x, self.weight, ops.reshape(self.bias, self.out_features), self.nonlinearity)
