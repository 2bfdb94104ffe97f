"""Loss functions."""

from __future__ import annotations

from needle import ops
from needle.autograd import Tensor
from needle.nn.module import Module


class SoftmaxLoss(Module):
    """Softmax and cross-entropy, averaged over the batch: mean of -log(softmax(logits)[label])."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A scalar from logits (N, classes) and labels (N,), whole numbers in 0..classes-1."""
        return ops.mean(ops.softmax_cross_entropy(logits, labels))
