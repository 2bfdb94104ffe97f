"""How many threads the process has, by the system's count: one team of OpenMP, which oneDNN shares, and no more."""

import os
import subprocess
import sys

import pytest

from needle.backend_ndarray import cpu

PRELUDE = """
import os
import numpy as np
import needle as ndl
from needle import backend_ndarray as nd, nn, optim
from needle.backend_ndarray import conv, matmul
from needle.data import DataLoader, ImageDataset, Normalize, RandomCrop

def threads():
    return len(os.listdir("/proc/self/task"))

def work():
    x = nd.array(np.ones((16, 32, 32, 16), np.float32))
    weight = nd.array(np.ones((3, 3, 16, 32), np.float32))
    conv.conv2d_backward_weight(x, conv.conv2d(x, weight, 1, 1), weight.shape, 1, 1)
    square = nd.array(np.ones((256, 256), np.float32))
    (matmul.matmul(square, square) + square).sum()
"""

TRAIN = """
model = nn.Sequential(nn.Conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 32 * 32, 10))
optimizer = optim.Adam(model.parameters())
dataset = ImageDataset(
    np.zeros((640, 3, 32, 32), np.uint8), np.zeros(640, int), [RandomCrop(3), Normalize(0.5, 0.2)]
)
most = 0
for images, labels in DataLoader(dataset, 64, num_workers=workers):
    optimizer.reset_grad()
    nn.SoftmaxLoss()(model(images), labels).backward()
    optimizer.step()
    most = max(most, threads())
print(most)
"""


def run(program: str, provider: str = "native") -> int:
    """The number that the program prints, in a process with two threads for OpenMP and one for NumPy's BLAS."""
    environment = {
        **os.environ, "NEEDLE_CPU_KERNELS": provider, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    finished = subprocess.run(
        [sys.executable, "-c", PRELUDE + program], env=environment, capture_output=True, text=True, timeout=250
    )
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout)


@pytest.fixture(params=["native", "onednn"])
def provider(request):
    if request.param not in cpu().kernels.providers():
        pytest.skip("no oneDNN")
    return request.param


def test_work_of_some_size_has_the_team(provider):
    assert run("work(); print(threads())", provider) == 2


def test_one_thread_is_one_for_every_provider(provider):
    assert run("ndl.set_num_threads(1); work(); print(threads())", provider) == 1


def test_a_number_that_is_set_is_the_team_s(provider):
    assert run("ndl.set_num_threads(4); work(); print(threads())", provider) == 4


def test_small_work_wakes_nobody(provider):
    assert run("x = ndl.Tensor(np.ones((16, 16))); (x @ x + x).sum().backward(); print(threads())", provider) == 1


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_training_has_one_team_and_the_loader_s_threads(provider, workers):
    assert run(f"workers = {workers}" + TRAIN, provider) == 2 + workers


FIRST_USE = """
import threading
from concurrent.futures import ThreadPoolExecutor

import needle as ndl

gate = threading.Barrier(8)


def first(_):
    gate.wait()
    return ndl.Tensor([1.0])


with ThreadPoolExecutor(8) as pool:
    tensors = list(pool.map(first, range(8)))
print(len({id(x.device) for x in tensors} | {id(ndl.cpu())}))
"""


def test_a_device_is_one_where_threads_ask_for_it_at_once():
    assert [run(FIRST_USE) for _ in range(5)] == [1] * 5
