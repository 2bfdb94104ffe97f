"""The bindings of the CPU kernels: nothing that a Python caller passes may crash the interpreter, and errors say why."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import needle as ndl
from needle.backend_ndarray import backend_cpu as cpu
from needle.backend_ndarray.ndarray import NDArray
from needle.errors import DeviceError, DTypeError, OutOfMemoryError, ShapeError

FLOAT32, FLOAT64, INT8, UINT8, INT32, INT64, BOOL = 0, 1, 4, 5, 6, 7, 8


def make(values) -> cpu.Array:
    """A 1-d float32 operand that views a NumPy array."""
    return cpu.Array(cpu.Buffer.wrap(values), FLOAT32, (len(values),), (1,), 0)


def ones(size: int) -> cpu.Array:
    return make(np.ones(size, np.float32))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (("x",), TypeError),
        ((None,), TypeError),
        ((1.5,), TypeError),
        ((1, 2), TypeError),
        ((-1,), ShapeError),
        ((2**45,), OutOfMemoryError),
        ((2**62,), OutOfMemoryError),
        ((2**70,), OverflowError),
    ],
)
def test_buffer_refuses(arguments, error):
    with pytest.raises(error):
        cpu.Buffer(*arguments)


def test_buffer_is_memory():
    buffer = cpu.Buffer(64)
    assert buffer.nbytes == 64
    values = np.ndarray((16,), np.float32, memoryview(buffer))
    values[:] = 3
    del buffer
    gc.collect()
    assert values.sum() == 48  # the view keeps the memory
    assert cpu.Buffer(0).nbytes == len(memoryview(cpu.Buffer(0))) == 0


def test_out_of_memory_is_survived():
    with pytest.raises(MemoryError, match="asked for 35184372088832 bytes"):
        cpu.Buffer(2**45)
    assert cpu.Buffer(100).nbytes == 100


def test_wrap_shares_memory_and_keeps_its_owner():
    values = np.arange(4, dtype=np.float32)
    references = sys.getrefcount(values)
    array = make(values)
    cpu.add(array, array, array)
    assert values.tolist() == [0, 2, 4, 6]
    assert sys.getrefcount(values) > references
    del array
    gc.collect()
    assert sys.getrefcount(values) == references
    owner = bytearray(16)
    view = cpu.Buffer.wrap(owner)
    with pytest.raises(BufferError):
        owner.append(1)  # would move the memory
    del view
    owner.append(1)


@pytest.mark.parametrize("owner", [None, 3, b"read-only", np.arange(10.0)[::2], np.broadcast_to(np.ones(1), (3,))])
def test_wrap_refuses(owner):
    with pytest.raises((TypeError, BufferError, ValueError)):
        cpu.Buffer.wrap(owner)


def test_misaligned_memory_is_refused():
    memory = np.zeros(65, np.uint8)
    odd = cpu.Buffer.wrap(memory[1:])
    cpu.Array(odd, UINT8, (64,), (1,), 0)
    with pytest.raises(ShapeError, match="not aligned for float32"):
        cpu.Array(odd, FLOAT32, (4,), (1,), 0)


class NotAnIndex:
    def __index__(self):
        raise KeyError("no")


BUFFER = cpu.Buffer(64)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((None, 0, (1,), (1,), 0), TypeError),
        ((BUFFER, "float32", (1,), (1,), 0), TypeError),
        ((BUFFER, 0, [1], (1,), 0), TypeError),
        ((BUFFER, 0, (1,), None, 0), TypeError),
        ((BUFFER, 0, (1.5,), (1,), 0), TypeError),
        ((BUFFER, 0, (NotAnIndex(),), (1,), 0), KeyError),
        ((BUFFER, 0, (1,), (1,)), TypeError),
        ((BUFFER, 9, (1,), (1,), 0), DTypeError),
        ((BUFFER, -1, (1,), (1,), 0), DTypeError),
        ((BUFFER, 0, (1,), (1, 1), 0), ShapeError),
        ((BUFFER, 0, (1,) * 9, (1,) * 9, 0), ShapeError),
        ((BUFFER, 0, (-1,), (1,), 0), ShapeError),
        ((BUFFER, 0, (17,), (1,), 0), ShapeError),
        ((BUFFER, 0, (16,), (1,), 1), ShapeError),
        ((BUFFER, 0, (16,), (-1,), 0), ShapeError),
        ((BUFFER, 0, (1,), (1,), -1), ShapeError),
        ((BUFFER, 0, (1,), (1,), 2**62), ShapeError),
        ((BUFFER, 0, (2,), (2**62,), 0), ShapeError),
        ((BUFFER, 0, (3, 3), (2**63 - 1, 2**63 - 1), 0), ShapeError),
        ((BUFFER, 0, (2**40,), (-(2**40),), 2**62), ShapeError),
        ((BUFFER, 0, (2**62, 2**62), (0, 0), 0), ShapeError),
        ((BUFFER, 0, (2**62, 2**62, 0), (0, 0, 0), 0), ShapeError),
        ((BUFFER, 0, (2**80,), (1,), 0), ShapeError),
    ],
)
def test_array_refuses(arguments, error):
    with pytest.raises(error):
        cpu.Array(*arguments)


def test_array_takes_any_integer():
    cpu.Array(BUFFER, np.int64(0), (np.int32(4), True), (np.int64(1), 1), np.uint8(3))


def test_allocate_makes_an_ndarray_over_memory_of_its_own():
    x = cpu.allocate((2, 3), (1, 2), ndl.float32, ndl.cpu())
    values = np.ndarray((6,), np.float32, memoryview(x.buffer))
    values[:] = 3
    cpu.add(x, x, x)
    assert type(x) is NDArray and x.buffer.nbytes == 24 and values.tolist() == [6] * 6
    operand = x.operand
    del x, values
    cpu.add(operand, operand, operand)  # keeps its memory
    assert cpu.allocate((), (), ndl.float64, None).buffer.nbytes == 8
    assert cpu.allocate((0, 5), (5, 1), ndl.float64, None).buffer.nbytes == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (((2,), (1,), ndl.float32), TypeError),
        (([2], (1,), ndl.float32, None), TypeError),
        (((2,), (1,), "float32", None), AttributeError),
        (((2,), (1, 1), ndl.float32, None), ShapeError),
        (((-2,), (1,), ndl.float32, None), ShapeError),
        (((2,), (2,), ndl.float32, None), ShapeError),  # a gap
        (((2,), (-1,), ndl.float32, None), ShapeError),
        (((2**62, 2**62), (0, 0), ndl.float32, None), OutOfMemoryError),
        (((2**45,), (1,), ndl.float32, ndl.cpu()), OutOfMemoryError),
    ],
)
def test_allocate_refuses(arguments, error):
    with pytest.raises(error):
        cpu.allocate(*arguments)


def test_view_takes_an_ndarray_and_a_kernel_checks_it():
    x = cpu.allocate((2, 3), (3, 1), ndl.float32, ndl.cpu())
    for arguments in [(), (x,), (x.operand, (2,), (1,), 0), (None, (2,), (1,), 0)]:
        with pytest.raises(TypeError):
            cpu.view(*arguments)
    for shape, strides, offset in [((7,), (1,), 0), ((2,), (1, 1), 0), ((1,), (1,), -1), ((1,), (1,), 2**80)]:
        with pytest.raises(ShapeError):
            cpu.negate(cpu.view(x, shape, strides, offset), x)
    for shape, strides, offset in [(None, (1,), 0), ((6,), [1], 0), ((6,), (1,), "0")]:
        with pytest.raises(TypeError):
            cpu.negate(cpu.view(x, shape, strides, offset), x)


def test_an_ndarray_without_attributes_is_refused():
    x, bare = cpu.allocate((2,), (1,), ndl.float32, ndl.cpu()), object.__new__(NDArray)
    for call in (
        lambda: cpu.add(bare, x, x),
        lambda: cpu.elementwise["add"](x, bare),
        lambda: cpu.reductions["sum"](bare, None, False),
        lambda: cpu.view(bare, (), (), 0),
    ):
        with pytest.raises(AttributeError, match="NDArray: no "):
            call()
    with pytest.raises(TypeError, match="of another backend"):
        cpu.add(ndl.cpu_numpy().ones(2), x, x)


@pytest.mark.parametrize("kind", [cpu.Buffer, cpu.Array])
def test_types_are_made_by_a_call_alone(kind):
    with pytest.raises(TypeError):
        object.__new__(kind)
    with pytest.raises(TypeError):
        type("Derived", (kind,), {})
    with pytest.raises(TypeError):
        pickle.dumps(BUFFER)


@pytest.mark.parametrize("code,low,high", [(INT8, -128, 127), (UINT8, 0, 255), (INT32, -(2**31), 2**31 - 1)])
def test_scalars_fit_their_dtype(code, low, high):
    for value in (low, high, np.int64(high)):
        cpu.scalar(value, code)
    for value in (low - 1, high + 1, 2**70):
        with pytest.raises(OverflowError):
            cpu.scalar(value, code)
    with pytest.raises(TypeError):
        cpu.scalar(1.5, code)


@pytest.mark.parametrize(
    ("value", "code", "error"),
    [("x", FLOAT32, TypeError), (None, INT64, TypeError), (10**400, FLOAT64, OverflowError), (1, 99, DTypeError)],
)
def test_scalar_refuses(value, code, error):
    with pytest.raises(error):
        cpu.scalar(value, code)


@pytest.mark.parametrize(
    ("kernel", "arguments", "message"),
    [
        (cpu.add, (), "add: 0 arguments, expected 3"),
        (cpu.add, (1, 2, 3), "add: an operand is int, expected NDArray"),
        (cpu.add, (None, None, None), "add: an operand is NoneType, expected NDArray"),
        (cpu.max_pool2d, (ones(1), ones(1), "2", 1, 0), "'str' object cannot be interpreted as an integer"),
        (cpu.random_dropout_mask, (ones(1), None, 0, 0), "must be real number, not NoneType"),
    ],
)
def test_kernels_refuse_other_types(kernel, arguments, message):
    with pytest.raises(TypeError, match=message):
        kernel(*arguments)


SETTINGS = (0.1, 0.0, 0.0, 0.0, False, [])


@pytest.mark.parametrize("wrong", [None, 3, ones(2), (ones(2),), [None], [ones(2), 3.0], [[ones(2)]]])
def test_kernels_refuse_other_lists(wrong):
    with pytest.raises(TypeError, match="sgd_step: an operand is .*, expected (a list of NDArrays|NDArray)"):
        cpu.sgd_step(wrong, [ones(2)], [], *SETTINGS)
    with pytest.raises(TypeError, match="sgd_step: an operand is .*, expected (a list of NDArrays|NDArray)"):
        cpu.sgd_step([ones(2)], wrong, [], *SETTINGS)


def test_a_list_that_loses_its_arrays_meanwhile():
    """The numbers come after the lists, and making one of them may run any code."""
    parameters, grads = [ones(1000)], [ones(1000)]

    class Emptying:
        def __float__(self):
            parameters.clear()
            grads.clear()
            gc.collect()
            return 1.0

    cpu.sgd_step(parameters, grads, [], Emptying(), *SETTINGS[1:])


def test_kernel_errors_have_their_classes():
    with pytest.raises(ShapeError, match=r"add: a has shape \(2,\) and out has shape \(3,\)"):
        cpu.add(ones(2), ones(3), ones(3))
    with pytest.raises(DTypeError, match="argmax: out is float32, expected int64"):
        cpu.argmax(ones(3), ones(1))


def test_levels_give_the_same_sums():
    before = cpu.level()
    try:
        for level in cpu.levels():
            cpu.set_level(level)
            assert cpu.level() == level
            out = np.zeros(1, np.float32)
            cpu.sum(ones(1001), make(out))
            assert out[0] == 1001
        with pytest.raises(DeviceError, match="'neon', expected one of baseline, avx2, avx512"):
            cpu.set_level("neon")
    finally:
        cpu.set_level(before)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("baseline", "baseline"), ("", cpu.levels()[-1]), ("mmx", "NEEDLE_CPU_LEVEL: instruction level 'mmx', expected")],
)
def test_environment_chooses_the_level(level, expected):
    program = "from needle.backend_ndarray import backend_cpu; print(backend_cpu.level())"
    environment = {**os.environ, "NEEDLE_CPU_LEVEL": level, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert expected in result.stdout + result.stderr
    assert result.returncode == (0 if level != "mmx" else 1)


def test_memory_is_counted():
    cpu.trim_memory()
    before = cpu.memory_stats()
    buffer = cpu.Buffer(1 << 20)
    cpu.reset_peak_memory()
    during = cpu.memory_stats()
    assert during["current"] == during["peak"] == before["current"] + (1 << 20)
    assert during["reserved"] >= during["current"]
    del buffer
    assert cpu.memory_stats()["current"] == before["current"]


def test_threads_of_python_call_kernels_at_once():
    size, wrong = 1 << 18, []

    def work():
        for _ in range(10):
            out = np.zeros(size, np.float32)
            cpu.add(ones(size), ones(size), make(out))
            if not (out == 2).all():
                wrong.append(out)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_process_computes_on_one_thread():
    size = 1 << 20
    total = np.zeros(1, np.float32)
    cpu.sum(ones(size), make(total))  # starts the threads that the child will not have
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # one that waits for those threads would wait forever
        total[0] = 0
        cpu.sum(ones(size), make(total))
        os._exit(0 if total[0] == size and cpu.get_num_threads() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("count", "error"), [(0, ShapeError), (2**40, ShapeError), ("2", TypeError), (1.5, TypeError)])
def test_thread_counts(count, error):
    with pytest.raises(error):
        cpu.set_num_threads(count)


def test_attributes_assigned_to_do_not_crash():
    """No code of Needle does this; the array that the kernel was to read stays as it was."""
    bytes_, doubles = (cpu.allocate((1 << 16,), (1,), dtype, ndl.cpu()) for dtype in (ndl.int8, ndl.float64))
    cpu.elementwise["negate"](bytes_)  # makes its operand
    bytes_.dtype = doubles.dtype
    assert cpu.elementwise["add"](doubles, bytes_) is None
    with pytest.raises(DTypeError):
        cpu.add(doubles, bytes_, doubles)

    class Offset:
        def __index__(self):
            x.buffer = x.shape = x.strides = None
            gc.collect()
            return 0

    x = cpu.view(cpu.allocate((4,), (1,), ndl.float32, ndl.cpu()), (4,), (1,), Offset())
    with pytest.raises((TypeError, AttributeError)):
        cpu.elementwise["negate"](x).numpy() + cpu.elementwise["negate"](x.buffer)


def test_attributes_may_be_assigned_to_while_a_kernel_runs():
    x, out = (cpu.allocate((1 << 20,), (1,), ndl.float32, ndl.cpu()) for _ in range(2))
    done = threading.Event()

    def assign():
        while not done.is_set():
            other = cpu.allocate((1 << 20,), (1,), ndl.float32, ndl.cpu())
            x.shape, x.buffer = tuple([1 << 20]), other.buffer
            if hasattr(x, "operand"):
                del x.operand
            cpu.trim_memory()

    thread = threading.Thread(target=assign)
    thread.start()
    for _ in range(50):
        cpu.sin(x, out)
        assert cpu.elementwise["negate"](x).shape == (1 << 20,)
    done.set()
    thread.join()
