"""Information about this build of Needle and its hardware, and global settings."""

from __future__ import annotations

import operator
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

from needle.backend_ndarray import Device, all_devices, cpu, cuda, default_device
from needle.backend_ndarray.arguments import choice
from needle.backend_ndarray.device import require_device
from needle.errors import short

__all__ = [
    "__version__",
    "get_float32_matmul_precision",
    "get_num_threads",
    "memory_stats",
    "reset_peak_memory",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
]

__version__ = "0.1.0"


def show_config() -> str:
    """The version, devices, the kernels' instruction level, threads and providers, and jitted functions, as text."""
    lines = [f"needle {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"]
    details: list[str] = []
    for device in all_devices():
        default = ", the default" if device is default_device() else ""
        lines.append(f"{device!r}: {'enabled' + default if device.enabled() else device.reason}")
        if device.enabled() and device.name in _DETAILS:
            details += _DETAILS[device.name](device)
    for describe in more_details:
        details += describe()
    return "\n".join(lines + details)


# Other parts of the package, which may import this one, add functions that give lines for `show_config`.
more_details: list[Callable[[], list[str]]] = []


def _cpu_details(device: Device) -> list[str]:
    kernels = device.kernels
    calls = ", ".join(f"{name} {count}" for name, count in kernels.onednn_calls().items() if count)
    return [
        f"cpu kernels: {kernels.level()} of {', '.join(kernels.levels())} ({_setting('NEEDLE_CPU_LEVEL')})",
        f"cpu threads: {kernels.get_num_threads()} ({_setting('OMP_NUM_THREADS')})",
        f"cpu provider: {kernels.provider()} ({_setting('NEEDLE_CPU_KERNELS')})",
        f"  {_PROVIDERS[kernels.provider() if 'onednn' in kernels.providers() else 'native']}",
        f"  {kernels.onednn_status()}",
        f"  calls that oneDNN has done so far: {calls or 'none'}",
    ]


def _cuda_details(device: Device) -> list[str]:
    backend = device.kernels.backend
    calls = ", ".join(f"{name} {count}" for name, count in backend.library_calls().items() if count)
    return [
        f"cuda devices: {', '.join(backend.device_names())}",
        f"cuda provider: {backend.provider()} ({_setting('NEEDLE_CUDA_KERNELS')})",
        f"  {_CUDA_PROVIDERS[backend.provider()]}",
        f"  calls that NVIDIA's libraries have done so far: {calls or 'none'}",
    ]


_DETAILS: dict[str, Callable[[Device], list[str]]] = {"cpu": _cpu_details, "cuda": _cuda_details}  # by backend

_PROVIDERS = {
    "native": "every kernel is Needle's own",
    "onednn": "matrix products, convolutions, average pooling and batch norm are oneDNN's wherever it can do the call",
    "auto": "of the kernels that oneDNN has, too, it does those calls that it was measured to be faster at, by "
    "instruction level, kernel and amount of work",
}

_CUDA_PROVIDERS = {
    "native": "every kernel is Needle's own",
    "library": "matrix products, convolutions and pooling are cuBLAS's and cuDNN's wherever they can do the call",
    "auto": "matrix products are cuBLAS's and convolutions cuDNN's from an amount of work on",
}


def _setting(variable: str) -> str:
    """The environment variable as text; unset ones default to the best level, all cores and "auto"."""
    value = os.environ.get(variable)
    return f"{variable}={value}" if value else f"{variable} is not set"


def arithmetic(device: Device) -> list[str]:
    """Texts that say what determines the last bits of the device's results, besides the program and its input.

    Our own kernels give the same results with any number of threads; oneDNN's depend on that and on the processor.
    """
    return [repr(device), *_ARITHMETIC[device.name](device)]


def _cpu_arithmetic(device: Device) -> list[str]:
    kernels = device.kernels
    level = f"level {kernels.level()}"
    if kernels.provider() == "native" or "onednn" not in kernels.providers():
        return [level, "native kernels"]
    version = kernels.onednn_status().partition(",")[0]
    return [level, f"{kernels.provider()} kernels", version, _processor(), f"threads {kernels.get_num_threads()}"]


def _cuda_arithmetic(device: Device) -> list[str]:
    backend = device.kernels.backend
    name, provider = backend.device_names()[device.index], backend.provider()
    return [name, f"{provider} kernels", f"float32 products of {_precision} precision"]


def _numpy_arithmetic(device: Device) -> list[str]:
    return [f"NumPy {np.__version__}", _processor()]


_ARITHMETIC: dict[str, Callable[[Device], list[str]]] = {  # by backend
    "cpu": _cpu_arithmetic,
    "cuda": _cuda_arithmetic,
    "cpu_numpy": _numpy_arithmetic,
}


def _processor() -> str:
    """The processor model, as Linux reports it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def memory_stats(device: Device | None = None) -> dict[str, int]:
    """Bytes of a device: `current` in arrays, their `peak`, and `reserved` from the system, including cached blocks.

    Raises NotImplementedError for cpu_numpy(), whose memory NumPy manages: only a device with its own pool counts it.
    """
    device = default_device() if device is None else require_device("memory_stats", device)
    if not hasattr(device.kernels, "memory_stats"):
        raise NotImplementedError(f"memory_stats: {device!r} does not count its memory")
    stats: dict[str, int] = device.kernels.memory_stats()
    return stats


def reset_peak_memory(device: Device | None = None) -> None:
    """Resets the `peak` of `memory_stats` to the current use."""
    device = default_device() if device is None else require_device("reset_peak_memory", device)
    if not hasattr(device.kernels, "reset_peak_memory"):
        raise NotImplementedError(f"reset_peak_memory: {device!r} does not count its memory")
    device.kernels.reset_peak_memory()


_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Sets the precision of GPUs' products of float32 matrices and convolutions of float32 images.

    "highest", the default, computes in float32. "high" may round the operands to TF32, which keeps 10 of the 23
    mantissa bits and is several times as fast from compute capability 8.0 on; sums stay float32. Other devices are not
    affected.
    """
    global _precision
    choice("set_float32_matmul_precision", "precision", precision, ("highest", "high"))
    _precision = precision
    if cuda().enabled():
        cuda().kernels.backend.allow_tf32(precision == "high")


def get_float32_matmul_precision() -> str:
    """The precision last set by `set_float32_matmul_precision`: "highest" or "high"."""
    return _precision


def set_num_threads(count: int) -> None:
    """Sets the number of threads of the CPU kernels; OMP_NUM_THREADS sets it at start-up."""
    try:
        count = operator.index(count)
    except TypeError:
        raise TypeError(f"set_num_threads: {short(count)}: expected a whole number of 1 to 1024") from None
    cpu().kernels.set_num_threads(count)


def get_num_threads() -> int:
    """The number of threads of the CPU kernels."""
    count: int = cpu().kernels.get_num_threads()
    return count
