"""A build with CUDA on any machine: it imports, and says what it lacks."""

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import needle as ndl
from needle.backend_ndarray import backend_cuda
from needle.errors import DeviceError

NUM_GPUS = backend_cuda.device_count()
PTX, MACHINE_CODE = 1, 2  # kinds of entries in what nvcc puts into a binary


@pytest.mark.skipif(NUM_GPUS > 0, reason="there is a GPU")
def test_without_a_gpu_the_device_says_why():
    device = ndl.cuda()
    assert not device.enabled()
    assert "NVIDIA driver" in device.reason and device.reason in ndl.show_config()
    with pytest.raises(DeviceError) as raised:
        ndl.Tensor([1.0], device=device)
    assert str(raised.value) == device.reason


@pytest.mark.skipif(NUM_GPUS > 0, reason="there is a GPU")
def test_there_is_no_module_for_it():
    with pytest.raises(DeviceError, match="NVIDIA driver"):
        backend_cuda.device(0)


@pytest.mark.parametrize("index", [-1, NUM_GPUS, 2**31 - 1])
def test_there_is_no_such_gpu(index):
    assert "driver" in backend_cuda.reason_unavailable(index)
    assert not ndl.cuda(index).enabled()


@pytest.mark.parametrize("index", [2**31, "0", 0.5, None])
def test_an_index_is_a_small_integer(index):
    with pytest.raises(TypeError):
        backend_cuda.reason_unavailable(index)


def test_there_is_code_for_gpus_to_come():
    """PTX of the newest architecture that there is machine code for: the driver compiles it for any later GPU."""
    code = Path(backend_cuda.__file__).read_bytes()
    versions = {PTX: set(), MACHINE_CODE: set()}
    for container in re.finditer(re.escape(0xBA55ED50.to_bytes(4, "little")), code):  # a fat binary's magic number
        _, header_size, size = struct.unpack_from("<HHQ", code, container.end())
        entry = container.start() + header_size
        end = entry + size
        while entry < end:
            kind, _, header_size, size = struct.unpack_from("<HHIQ", code, entry)
            versions[kind].update(struct.unpack_from("<I", code, entry + 28))
            entry += header_size + size
    assert versions[MACHINE_CODE] and max(versions[PTX]) >= max(versions[MACHINE_CODE]) >= 80


@pytest.fixture
def import_elsewhere(tmp_path):
    """Runs a program with a copy of the package, as pip might have installed it, in `tmp_path`."""
    shutil.copytree(Path(ndl.__file__).parent, tmp_path / "needle")  # links are followed

    def run(program: str) -> str:
        environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program]  # Python looks into its working directory first
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    return run


PROGRAM = "import needle as ndl; x = ndl.Tensor([1.0]) + 1; print(ndl.cuda().reason or ndl.cuda())"


def test_missing_libraries_are_a_reason(import_elsewhere):
    assert "libcublas" in import_elsewhere(PROGRAM)


def test_libraries_are_found_beside_the_package(import_elsewhere, tmp_path):
    (tmp_path / "nvidia").mkdir()
    for part in Path(os.environ["TEST_SRCDIR"]).glob("cuda_pip_*/site-packages/nvidia/*"):  # cu13, cudnn
        (tmp_path / "nvidia" / part.name).symlink_to(part)
    reason = import_elsewhere(PROGRAM)
    assert "NVIDIA driver" in reason if NUM_GPUS == 0 else reason == "cuda()\n"
