"""Dispatch: kernel calls go through `call`."""

from __future__ import annotations

from needle.backend_ndarray.device import Device


def call(device: Device, kernel: str, *operands: object) -> None:
    """Calls a kernel of kernel_table.py on NDArrays of `device`, lists of them, kernel operands, and plain numbers.

    Only elementwise.py and reduce.py call kernels in another way, by `device.kernels.elementwise` and `reductions`, whose
    functions also make the result. So a tracer, a profiler or a compiler that records a training step can see the whole
    computation: here, once those dicts' functions are replaced by functions that return None.
    """
    getattr(device.kernels, kernel)(*operands)
