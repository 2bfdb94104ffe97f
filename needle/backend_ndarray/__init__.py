"""Strided n-d arrays over the buffers of a device. No gradients here.

This module has the public names. The array functions are in modules by topic: `elementwise`, `reduce`, `matmul`,
`conv`, `pool`, `norm`, `softmax`, `gather`, `crop`, `random`, `optim`.
"""

import needle.backend_ndarray.array_methods  # noqa: F401  (it adds operators and methods to NDArray)
import needle.backend_ndarray.creation  # noqa: F401  (it adds to Device what makes arrays)
from needle.backend_ndarray.device import (
    Device,
    all_devices,
    cpu,
    cpu_numpy,
    cuda,
    default_device,
    gpu,
)
from needle.backend_ndarray.dtype import DType, promote_types
from needle.backend_ndarray.elementwise import (
    exp,
    log,
    maximum,
    tanh,
)
from needle.backend_ndarray.ndarray import NDArray, array, empty, from_dlpack, full, ones, zeros

__all__ = [
    "all_devices", "array", "cpu", "cpu_numpy", "cuda", "default_device", "Device", "DType", "empty", "exp",
    "from_dlpack", "full", "gpu", "log", "maximum", "NDArray", "ones", "promote_types", "tanh", "zeros",
]  # fmt: skip
