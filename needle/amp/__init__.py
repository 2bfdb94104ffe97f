"""Mixed precision: a forward pass in float16 or bfloat16 over float32 parameters, and loss scaling for float16."""

from needle.amp.grad_scaler import GradScaler
from needle.amp.precision import PRECISION, autocast

__all__ = [
    "GradScaler",
    "PRECISION",
    "autocast",
]
