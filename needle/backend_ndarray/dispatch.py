"""Dispatch: kernel calls go through `call`."""

from __future__ import annotations

from needle.backend_ndarray.device import Device


def call(device: Device, kernel: str, *operands: object) -> None:
    """Calls a kernel of kernel_table.py on NDArrays of `device`, lists of them, kernel operands, and plain numbers.

    Only elementwise.py calls kernels in another way, by `device.kernels.elementwise`, which also makes the result. So a
    tracer, a profiler or a compiler that records a training step can see the whole computation: here, and where that
    dict's functions are replaced.
    """
    getattr(device.kernels, kernel)(*operands)
