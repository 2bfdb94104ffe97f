"""A program ends with status 0 while daemon threads are inside kernels, as it does with NumPy's."""

import os
import subprocess
import sys

import pytest

PRELUDE = """
import sys
import threading
import time
import numpy as np
from needle import backend_ndarray as nd
from needle.backend_ndarray import conv, gather, matmul
from needle.errors import ShapeError

def ones(*shape):
    return nd.array(np.ones(shape, np.float32))

def run_forever(step):
    while True:
        step()
        ready.set()

ready = threading.Event()
"""

POSTLUDE = """
for _ in range(3):
    threading.Thread(target=run_forever, args=(step,), daemon=True).start()
ready.wait()
time.sleep(float(sys.argv[1]))
"""

STEPS = {
    "matmul": """
a = ones(256, 256)
def step():
    matmul.matmul(a, a)
""",
    "convolution": """
x, weight = ones(8, 16, 16, 16), ones(3, 3, 16, 16)
def step():
    conv.conv2d_backward_weight(x, conv.conv2d(x, weight, 1, 1), weight.shape, 1, 1)
""",
    "elementwise": """
a = ones(100, 1000)
def step():
    a + a
""",
    "error": """
a, wrong = ones(4, 4), nd.array(np.full(10_000, 5))
def step():
    try:
        gather.gather(a, wrong)
    except ShapeError:
        pass
""",
    "shared memory": """
def step():
    nd.from_dlpack(np.ones((100, 1000), np.float32)).sum()
""",
}
TIMES = 10


@pytest.mark.parametrize(
    "kernel, provider", [*((kernel, "native") for kernel in STEPS), ("matmul", "onednn"), ("convolution", "onednn")]
)
def test_a_thread_inside_a_kernel_does_not_end_the_program(kernel, provider):
    environment = {
        **os.environ, "NEEDLE_CPU_KERNELS": provider, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)
    }  # fmt: skip
    for time in range(TIMES):
        finished = subprocess.run(
            [sys.executable, "-c", PRELUDE + STEPS[kernel] + POSTLUDE, str(time * 0.003)],
            env=environment, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert (finished.returncode, finished.stderr) == (0, "")
