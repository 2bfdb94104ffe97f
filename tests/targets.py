"""All that computes: each device but the reference, and of the CPU each instruction level and provider."""

from __future__ import annotations

from collections.abc import Iterator

from needle.backend_ndarray import Device, cpu, cpu_numpy
from tests.devices import devices


def on_every_target() -> Iterator[tuple[str, Device]]:
    """Each device but the reference; the CPU at each instruction level of this machine, and with oneDNN's kernels.

    oneDNN's own instructions are those of the level at which it was loaded, NEEDLE_CPU_LEVEL or the highest.
    """
    for device in devices():
        if device is cpu_numpy():
            continue
        if device is not cpu():
            yield repr(device), device
            continue
        first = device.kernels.level(), device.kernels.provider()
        try:
            device.kernels.set_provider("native")
            for level in device.kernels.levels():
                device.kernels.set_level(level)
                yield f"{device!r} {level}", device
            device.kernels.set_level(first[0])
            device.kernels.set_provider("onednn")
            yield f"{device!r} {first[0]} with oneDNN", device
        finally:
            device.kernels.set_level(first[0])
            device.kernels.set_provider(first[1])
