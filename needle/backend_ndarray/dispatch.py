"""Dispatch: every kernel call goes through `call`."""

from __future__ import annotations

from needle.backend_ndarray.device import Device


def call(device: Device, kernel: str, *operands: object) -> None:
    """Calls a kernel of kernel_table.py on NDArrays of `device`, lists of them, kernel operands, and plain numbers.

    Nothing else calls a kernel, so a tracer, a profiler or a compiler that records a training step can see the whole
    computation here.
    """
    getattr(device.kernels, kernel)(*operands)
