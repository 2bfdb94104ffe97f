"""The devices that tests run on: all that are enabled, or by NEEDLE_TEST_CUDA

only        a GPU alone
emulated    CUDA's kernels on the host in place of a GPU's, alone
"""

import importlib.util
import os
import sys
from pathlib import Path

_CUDA = os.environ.get("NEEDLE_TEST_CUDA", "")
EMULATED = _CUDA == "emulated"
CUDA_ALONE = _CUDA in ("only", "emulated")


def _emulate_cuda() -> None:
    """Puts the emulated module (kernels/testing/cuda_emulation) into the place of the one that a GPU needs."""
    name = "needle.backend_ndarray.backend_cuda"
    path = Path(__file__).parent.parent / "kernels" / "testing" / "cuda_emulation" / "backend_cuda.so"
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


if EMULATED:
    _emulate_cuda()

from needle.backend_ndarray import Device, all_devices, cuda  # noqa: E402  (which look for the module)


def devices() -> list[Device]:
    """The enabled devices, or a GPU, or what stands for one, alone."""
    return [cuda()] if CUDA_ALONE else [device for device in all_devices() if device.enabled()]
