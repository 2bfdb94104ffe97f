"""copy.copy, copy.deepcopy and pickle of all that a program keeps."""

from __future__ import annotations

import copy
import io
import math
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest

import needle as ndl
from needle import GradientError, NDArray, Parameter, Tensor, nn, ops, optim
from needle.amp import GradScaler
from needle.backend_ndarray import all_devices, cuda
from needle.backend_ndarray.dtype import DTYPES, as_dtype, float64
from needle.data import DataLoader, NDArrayDataset

PICKLES = {
    f"pickle {protocol}": lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}
DEEP = {"deepcopy": copy.deepcopy, **PICKLES}
each_deep_copy = pytest.mark.parametrize("copied", DEEP.values(), ids=DEEP)
each_copy = pytest.mark.parametrize("copied", [copy.copy, *DEEP.values()], ids=["copy", *DEEP])


def same_bits(a, b):
    a, b = np.asarray(a.numpy()), np.asarray(b.numpy())
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# Singletons


@each_copy
def test_dtypes_are_singletons(copied):
    for dtype in DTYPES:
        assert copied(dtype) is dtype is as_dtype(copied(dtype))
    assert copied([float64, {"dtype": float64}])[1]["dtype"] is float64


@each_copy
def test_devices_are_singletons(copied):
    for device in all_devices():
        assert copied(device) is device
    assert cuda() is cuda(0) is cuda(index=0)


def test_a_dtype_of_another_process_is_the_one_here():
    made = subprocess.run(
        [sys.executable, "-c", "import sys, pickle, needle; sys.stdout.buffer.write(pickle.dumps(needle.float64))"],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert pickle.loads(made.stdout) is float64


# Arrays


@pytest.mark.parametrize("dtype", DTYPES)
@each_copy
def test_arrays(copied, dtype, device):
    for shape in ((), (0,), (3, 0, 2), (2, 3)):
        a = ndl.backend_ndarray.array(np.arange(math.prod(shape)).reshape(shape), dtype, device)
        b = copied(a)
        assert type(b) is NDArray and b.dtype is dtype and b.device is device and same_bits(a, b)
        assert b.buffer is not a.buffer
    b[...] = 7
    assert a.numpy()[0, 0] == 0


@each_copy
def test_of_a_view_the_elements_are_copied(copied, device):
    base = ndl.backend_ndarray.array(np.arange(100_000.0).reshape(100, 1000), device=device)
    repeated, flipped = base[1, :1].broadcast_to((2, 5)), base.flip((0, 1))[:1, :2]
    for view in (base[3:5, ::-250], base.T[2:4, :3], repeated, flipped):
        b = copied(view)
        assert same_bits(view, b) and b.is_compact() and b.offset == 0
        assert memoryview(pickle.dumps(view)).nbytes < 1000


@each_deep_copy
def test_an_array_in_two_places_stays_one(copied, device):
    a = ndl.backend_ndarray.ones(3, device=device)
    x = Tensor.make_const(a)
    b, y, z = copied((a, x, x.detach()))
    assert y.cached_data is b is z.cached_data


# Tensors


@pytest.mark.parametrize("kind", [Tensor, Parameter])
@pytest.mark.parametrize("requires_grad", [True, False])
@each_deep_copy
def test_leaves(copied, requires_grad, kind, device):
    x = kind([1.0, 2.0], dtype="float64", device=device, requires_grad=requires_grad)
    if requires_grad:
        (x * x).sum().backward()
    y = copied(x)
    assert type(y) is kind and y.is_leaf() and y.requires_grad is requires_grad and y.dtype is float64
    assert same_bits(x, y) and y.device is device
    y.cached_data[...] = 5.0
    assert x.numpy().tolist() == [1, 2]
    if not requires_grad:
        assert y.grad is None
        return
    assert same_bits(x.grad, y.grad) and y.grad.is_leaf() and y.grad is not x.grad
    y.grad.cached_data[...] = 5.0
    assert x.grad.numpy().tolist() == [2, 4]
    (3 * y).sum().backward()
    assert y.grad.numpy().tolist() == [3, 3] and x.grad.numpy().tolist() == [2, 4]


def test_a_shallow_copy_shares_array_gradient_and_graph(device):
    x = Parameter([1.0, 2.0], device=device)
    x.grad = Tensor([3.0, 4.0], device=device)
    y = copy.copy(x)
    assert y is not x and type(y) is Parameter and y.cached_data is x.cached_data and y.grad is x.grad
    y.grad = None
    assert x.grad is not None
    copy.copy(x * x).sum().backward()
    assert x.grad.numpy().tolist() == [2, 4]


def results(x):
    yield x * x
    yield ops.split(Tensor.broadcast_to(x, (2, 2)), 0)  # a TensorTuple
    loss = (x * x).sum()
    loss.backward(create_graph=False)  # which lets the graph go
    yield loss


def test_a_result_is_no_leaf_to_be_copied_deeply():
    for result in results(Tensor([1.0, 2.0])):
        with pytest.raises(GradientError, match="met the result of an operation: expected a leaf, see detach"):
            copy.deepcopy({"some": [result]})
    assert copy.deepcopy((Tensor([1.0]) * 2).detach()).numpy() == 2


@pytest.mark.parametrize("copied", PICKLES.values(), ids=PICKLES)
def test_a_pickled_result_is_a_leaf_of_its_value(copied):
    for result in results(Tensor([1.0, 2.0])):
        y = copied(result)
        assert type(y) is type(result) and y.is_leaf() and y.inputs == ()
        if isinstance(result, Tensor):
            assert same_bits(y, result) and y.requires_grad
            (y * 3).sum().backward()
            assert set(y.grad.numpy().reshape(-1)) == {3}
        else:
            assert all(map(same_bits, y, result)) and not (y[0] * 2).requires_grad


@each_deep_copy
def test_results_without_a_graph(copied):
    x = Tensor([[1.0], [2.0]], requires_grad=False)
    assert same_bits(copied(x * 2), x * 2)
    assert [part.numpy().tolist() for part in copied(ops.split(x, 0))] == [[1], [2]]


class Named(Parameter):
    """A subclass with attributes."""

    __slots__ = ("__dict__", "group")

    def __init__(self, data):
        super().__init__(data)
        self.name, self.group, self.itself = "weight", [1], self


@each_copy
def test_subclasses_keep_their_attributes(copied):
    x = Named([1.0])
    y = copied(x)
    assert type(y) is Named and y.name == "weight" and y.group == [1] and y is not x
    assert y.itself is (x if copied is copy.copy else y)
    assert (y.group is x.group) == (copied is copy.copy)


def test_what_cannot_be_had_here_is_named(monkeypatch):
    pickled = pickle.dumps(Tensor([1.0], device=ndl.cpu_numpy()))
    monkeypatch.delattr(ndl.cpu_numpy(), "kernels")
    monkeypatch.setattr(ndl.cpu_numpy(), "reason", "cpu_numpy() is not available: it is switched off")
    with pytest.raises(ndl.DeviceError, match=r"cpu_numpy\(\) is not available: it is switched off"):
        pickle.loads(pickled)


def test_a_pickle_holds_numpy_arrays_and_names():
    class Finder(pickle.Unpickler):
        def find_class(self, module, name):
            if not module.startswith("numpy"):
                found.add(name)
            return super().find_class(module, name)

    found = set()
    model = nn.Sequential(nn.Linear(2, 2, device=ndl.cpu()), nn.BatchNorm1d(2, device=ndl.cpu()))
    Finder(io.BytesIO(pickle.dumps((model, optim.Adam(model.parameters()))))).load()
    assert found == {"Sequential", "Linear", "BatchNorm1d", "Adam", "Parameter", "Tensor", "array", "as_dtype", "cpu"}


def test_another_process_takes_and_gives_tensors():
    x = Tensor([1e300, 2.0], dtype="float64")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        y = pool.apply(ops.add, (x, x * 2))
    assert y.numpy().tolist() == [3e300, 6] and y.dtype is float64 and y.device is x.device
    assert (y + y).dtype is float64


# Modules


def images(device):
    return Tensor(np.random.randn(2, 3, 8, 8), device=device)


def rows(*shape):
    return lambda device: Tensor(np.random.randn(*shape), device=device)


LAYERS = {
    nn.AttentionLayer: (lambda o: nn.AttentionLayer(8, 2, 4, dropout=0.1, **o), rows(2, 5, 8)),
    nn.AvgPool2d: (lambda o: nn.AvgPool2d(2), images),
    nn.BatchNorm1d: (lambda o: nn.BatchNorm1d(3, **o), rows(4, 3)),
    nn.BatchNorm2d: (lambda o: nn.BatchNorm2d(3, **o), images),
    nn.Conv: (lambda o: nn.Conv(3, 4, 3, **o), images),
    nn.Dropout: (lambda o: nn.Dropout(0.4), rows(40)),
    nn.Embedding: (lambda o: nn.Embedding(5, 3, **o), lambda device: Tensor([[1], [4]], device=device)),
    nn.Flatten: (lambda o: nn.Flatten(), images),
    nn.GELU: (lambda o: nn.GELU(), rows(4)),
    nn.Identity: (lambda o: nn.Identity(), rows(4)),
    nn.LSTM: (lambda o: nn.LSTM(3, 4, 2, dropout=0.2, **o), rows(5, 2, 3)),
    nn.LSTMCell: (lambda o: nn.LSTMCell(3, 4, **o), rows(2, 3)),
    nn.LayerNorm1d: (lambda o: nn.LayerNorm1d(3, **o), rows(4, 3)),
    nn.Linear: (lambda o: nn.Linear(3, 4, nonlinearity="relu", **o), rows(2, 3)),
    nn.MaxPool2d: (lambda o: nn.MaxPool2d(2), images),
    nn.MultiHeadAttention: (
        lambda o: Thrice(nn.MultiHeadAttention(dropout=0.1, causal=True, **o)),
        rows(2, 2, 5, 4),
    ),
    nn.RNN: (lambda o: nn.RNN(3, 4, 2, nonlinearity="relu", **o), rows(5, 2, 3)),
    nn.RNNCell: (lambda o: nn.RNNCell(3, 4, **o), rows(2, 3)),
    nn.ReLU: (lambda o: nn.ReLU(), rows(4)),
    nn.Residual: (lambda o: nn.Residual(nn.Linear(3, 3, **o)), rows(2, 3)),
    nn.Sequential: (lambda o: nn.Sequential(nn.Linear(3, 3, **o), nn.Dropout(0.5)), rows(2, 3)),
    nn.Sigmoid: (lambda o: nn.Sigmoid(), rows(4)),
    nn.SoftmaxLoss: (lambda o: Labelled(nn.SoftmaxLoss()), rows(2, 3)),
    nn.Tanh: (lambda o: nn.Tanh(), rows(4)),
    nn.Transformer: (
        lambda o: nn.Transformer(8, 4, 2, num_head=2, dim_head=4, dropout=0.1, sequence_len=6, **o),
        rows(5, 2, 8),
    ),
    nn.TransformerLayer: (lambda o: nn.TransformerLayer(8, 2, 4, 4, dropout=0.1, **o), rows(2, 5, 8)),
}


class Thrice(nn.Module):
    """A layer of three inputs, all of them x."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x, x)


class Labelled(nn.Module):
    """A loss with labels of its own."""

    def __init__(self, loss):
        self.loss = loss

    def forward(self, x):
        return self.loss(x, Tensor([0, 2], device=x.device, requires_grad=False))


def tensors_in(value):
    """The Tensors of nested tuples, without what is None."""
    return [value] if isinstance(value, Tensor) else [tensor for part in value or () for tensor in tensors_in(part)]


def outputs(module, x):
    ndl.manual_seed(3)
    return tensors_in(module(x))


def test_every_layer_is_here():
    layers = {layer for name in nn.__all__ if issubclass(layer := getattr(nn, name), nn.Module)}
    assert LAYERS.keys() == layers - {nn.Module}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("copied", [copy.deepcopy, PICKLES["pickle 2"], PICKLES["pickle 5"]], ids=["deep", "2", "5"])
def test_layers(copied, layer, device):
    make, make_input = LAYERS[layer]
    module, x = make({"device": device}), make_input(device)
    outputs(module, x)  # changes running statistics
    for training in (True, False):
        module.train(training)
        twin = copied(module)
        assert type(twin) is type(module) and twin.training is training and repr(twin) == repr(module)
        named, copies = module._named_tensors(), twin._named_tensors()
        assert [name for name, _ in copies] == [name for name, _ in named]
        for (_, a), (_, b) in zip(named, copies):
            assert type(a) is type(b) and a is not b and same_bits(a, b) and a.requires_grad is b.requires_grad
            assert a.cached_data.buffer is not b.cached_data.buffer
        assert all(map(same_bits, outputs(module, x), outputs(twin, x)))


class Tied(nn.Module):
    """Parameters in two places, frozen ones, parts in different modes."""

    def __init__(self):
        self.embedding = nn.Embedding(4, 3)
        self.parts = {"again": [self.embedding, self.embedding.weight], "norm": nn.BatchNorm1d(3).eval()}
        self.parts["norm"].weight.requires_grad = False
        self.dtype, self.device = float64, ndl.cpu()


@each_deep_copy
def test_what_is_shared_stays_shared(copied):
    model = Tied()
    twin = copied(model)
    assert twin.parts["again"] == [twin.embedding, twin.embedding.weight] and twin.embedding is not model.embedding
    assert twin.training and not twin.parts["norm"].training and not twin.parts["norm"].weight.requires_grad
    assert twin.dtype is float64 and twin.device is ndl.cpu()


def test_a_shallow_copy_of_a_module_shares_its_parts():
    model = nn.Sequential(nn.Linear(2, 2))
    assert copy.copy(model).parameters() == model.parameters()


# Optimizers, schedules, loss scaling, data


OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    "adam": lambda params: optim.Adam(params, lr=0.1),
    "adamw": lambda params: optim.AdamW(params, lr=0.1),
}
SCHEDULES = {
    "step": lambda optimizer: optim.StepLR(optimizer, 1, 0.5),
    "milestones": lambda optimizer: optim.MultiStepLR(optimizer, [2, 3]),
    "cosine": lambda optimizer: optim.CosineAnnealingLR(optimizer, 4),
    "cycle": lambda optimizer: optim.OneCycleLR(optimizer, 0.1, 6, anneal_strategy="linear"),
    "warmup": lambda optimizer: optim.LinearWarmup(optimizer, 2, optim.CosineAnnealingLR(optimizer, 4)),
}


def train(model, optimizer, schedule, scaler, steps):
    device = model.parameters()[0].device
    for step in range(steps):
        x = Tensor(np.random.RandomState(step).randn(8, 3), device=device)
        optimizer.reset_grad()
        scaler.scale((model(x) ** 2).sum()).backward()
        if step == 1:
            model.parameters()[0].grad.cached_data[0, 0] = math.inf  # a step that is skipped
        scaler.step(optimizer)
        scaler.update()
        schedule.step()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, PICKLES["pickle 5"]], ids=["deep", "pickle"])
def test_a_copied_run_goes_on_with_the_same_bits(copied, optimizer, schedule, device):
    on = {"device": device}
    model = nn.Sequential(nn.Linear(3, 4, **on), nn.BatchNorm1d(4, **on), nn.Linear(4, 1, **on))
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    run = model, optimizer, SCHEDULES[schedule](optimizer), GradScaler(init_scale=8.0, growth_interval=2)
    train(*run, steps=3)
    twin = copied(run)
    assert twin[1].params == twin[0].parameters() and twin[2].optimizer is twin[1]
    assert getattr(twin[2], "after", twin[2]).optimizer is twin[1]
    assert not set(map(id, twin[1].params)) & set(map(id, optimizer.params))
    for part, its_twin in zip(run, twin):
        np.testing.assert_equal(its_twin.state_dict(), part.state_dict())
    for parts in (run, twin):
        train(*parts, steps=3)
    for part, its_twin in zip(run, twin):
        np.testing.assert_equal(its_twin.state_dict(), part.state_dict())


@each_copy
def test_no_copy_of_a_scaler_within_a_step(copied):
    p = Parameter([1.0])
    optimizer, scaler = optim.SGD([p], lr=1.0), GradScaler(init_scale=4.0)
    p.grad = Tensor([4.0])
    scaler.unscale_(optimizer)
    with pytest.raises(GradientError, match="met a copy within a step: expected one before unscale_ or after update"):
        copied(scaler)
    scaler.step(optimizer)
    scaler.update()
    assert copied(scaler).get_scale() == 4 and p.numpy() == 0


class Waiting:
    """Stands for a PendingRead of a device that has not come to it."""

    def item(self):
        return math.inf

    def __reduce__(self):
        raise TypeError("of this process")


@each_copy
def test_an_optimizer_settles_its_steps_before_it_is_copied(copied):
    p = Parameter([1.0])
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = Tensor([4.0])
    optimizer.step()
    optimizer._undecided.append((Waiting(), [0]))
    assert copied(optimizer).steps == optimizer.steps == [0]


@each_deep_copy
def test_data_loaders(copied):
    loader = DataLoader(NDArrayDataset(np.arange(6.0)), batch_size=2, shuffle=True, device=ndl.cpu())
    batches = []
    for each in (loader, copied(loader)):
        np.random.seed(0)
        batches.append([x.numpy().tolist() for (x,) in each])
        assert each.device is ndl.cpu()
    assert batches[0] == batches[1]
