"""New Tensors: constants, random numbers and initial weights of layers.

Random numbers come from NumPy's global generator, so `np.random.seed(n)` reproduces them, in the same order and with
the same values on every device.
"""

from needle.init.basic import constant, one_hot, ones, ones_like, rand, randb, randn, zeros, zeros_like
from needle.init.initializers import kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform

__all__ = [
    "constant",
    "kaiming_normal",
    "kaiming_uniform",
    "one_hot",
    "ones",
    "ones_like",
    "rand",
    "randb",
    "randn",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
    "zeros_like",
]
