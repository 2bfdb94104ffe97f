"""Needle: a deep learning framework small enough to read in a week. `import needle as ndl`."""

from needle import autograd, ops
from needle.autograd import Op, Parameter, Tensor, TensorTuple, no_grad
