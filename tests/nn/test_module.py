"""Module: what it consists of, its modes, its state, and how it prints."""

from __future__ import annotations

import numpy as np
import pytest

from needle import init, nn, optim
from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import cpu_numpy
from needle.errors import CheckpointError, DTypeError


class Parts(nn.Module):
    """Parts of every kind, in an order that is neither alphabetical nor by kind."""

    def __init__(self, device=None, dtype="float32"):
        options = {"device": device, "dtype": dtype}
        self.z = Parameter(init.randn(2, 3, **options))
        self.running = init.zeros(4, **options)
        self.layers = [nn.Linear(2, 3, **options), (nn.Linear(3, 1, bias=False, **options), nn.ReLU())]
        self.a = Parameter(init.randn(5, **options))
        self.by_name = {"x": Parameter(init.randn(1, **options)), "bn": nn.BatchNorm1d(2, **options)}
        self.count = Tensor([3], device=device, requires_grad=False)
        self.comment = "a string is no part"

    def forward(self, x):
        return self.layers[1][0](self.layers[0](x))


NAMES = ["z", "layers.0.weight", "layers.0.bias", "layers.1.0.weight", "a", "by_name.x", "by_name.bn.weight",
         "by_name.bn.bias"]  # fmt: skip
BUFFERS = ["running", "by_name.bn.running_mean", "by_name.bn.running_var", "count"]


def test_parameters_in_order_of_definition():
    model = Parts()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [name for name, _ in model.named_buffers()] == BUFFERS
    assert all(a is b for a, (_, b) in zip(model.parameters(), model.named_parameters(), strict=True))
    assert all(isinstance(parameter, Parameter) for parameter in model.parameters())
    assert [p.shape for p in model.parameters()] == [(2, 3), (2, 3), (1, 3), (3, 1), (5,), (1,), (2,), (2,)]


def test_what_is_shared_counts_once():
    class Tied(nn.Module):
        def __init__(self):
            self.encoder = nn.Linear(2, 2, bias=False)
            self.decoder = nn.Linear(2, 2, bias=False)
            self.decoder.weight = self.encoder.weight
            self.again = self.encoder

    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["encoder.weight"]
    assert list(model.state_dict()) == ["encoder.weight"]


def test_a_module_may_refer_to_its_parent():
    child, parent = nn.Identity(), nn.Identity()
    child.parent, parent.child = parent, child
    child.weight = Parameter([1.0])
    assert [name for name, _ in parent.named_parameters()] == ["child.weight"]
    assert parent.eval().child.training is False
    assert repr(parent).splitlines() == ["Identity: 1 parameters", "  child: Identity: 1 parameters"]


def test_a_tensor_made_by_an_operation_is_no_buffer():
    model = nn.Linear(2, 2)
    model.last_output = model(Tensor(np.ones((1, 2))))
    assert model.named_buffers() == []


def test_modes_reach_all_modules():
    model = Parts()
    modules = [model, model.layers[0], *model.layers[1], model.by_name["bn"]]
    assert all(module.training for module in modules)
    assert model.eval() is model
    assert not any(module.training for module in modules)
    assert model.train() is model
    assert all(module.training for module in modules)


def test_a_module_needs_a_forward():
    class Nothing(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no forward"):
        Nothing()(1)


def test_call_passes_arguments_on():
    class Add(nn.Module):
        def forward(self, x, y=1):
            return x + y

    assert Add()(2, y=3) == 5


def test_state_dict_round_trip(device):
    source, target = Parts(device), Parts(device, "float64")
    source.running.cached_data[...] = 2.5
    source.count.cached_data[...] = 9
    state = source.state_dict()
    assert set(state) == {*NAMES, *BUFFERS} and all(type(value) is np.ndarray for value in state.values())
    parameters = target.parameters()
    arrays = [parameter.cached_data for parameter in parameters]
    target.load_state_dict(state)
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))
    assert all(a is b.cached_data for a, b in zip(arrays, parameters, strict=True))
    for name, value in target.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
        assert value.dtype == (np.int64 if name == "count" else np.float64)


def test_state_dict_holds_copies():
    model = nn.Linear(2, 2)
    state = model.state_dict()
    before = state["weight"].copy()
    model.weight.cached_data[...] = 7.0
    np.testing.assert_array_equal(state["weight"], before)
    model.load_state_dict(state)
    state["weight"][...] = 5.0
    np.testing.assert_array_equal(model.weight.numpy(), before)


def test_state_dict_takes_tensors_of_another_device(device):
    model = nn.Linear(2, 1, device=device)
    model.load_state_dict({"weight": Tensor([[1], [2]], device=cpu_numpy()), "bias": Tensor([[3.0]])})
    np.testing.assert_array_equal(model.weight.numpy(), [[1], [2]])
    assert model.weight.device is device and model.weight.dtype == "float32"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("a"), r"missing a: expected the names that state_dict\(\) gives"),
        (lambda state: state.update(b=1, c=2), "unexpected b, c: expected"),
        (lambda state: (state.pop("z"), state.update(y=1)), "missing z; unexpected y: expected"),
        (lambda state: state.update({f"k{i}": 0 for i in range(9)}), "unexpected k0, k1, k2, k3, k4, k5 and 3 more"),
        (lambda state: state.update(a=np.zeros(4)), r"load_state_dict: a: shape \(4,\): expected \(5,\)"),
    ],
)
def test_state_dict_of_another_model(change, message):
    model = Parts()
    before = model.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_to_dtype(device):
    model = Parts(device)
    before, held = model.state_dict(), model.parameters()
    assert model.to(dtype="float64") is model
    assert all(a is b for a, b in zip(held, model.parameters(), strict=True))
    assert {parameter.dtype for parameter in model.parameters()} == {"float64"}
    assert model.count.dtype == "int64" and model.by_name["bn"].running_var.dtype == "float64"
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_to_device_takes_gradients_along(device):
    model = nn.Linear(2, 2, device=cpu_numpy())
    model(Tensor(np.ones((1, 2)), device=cpu_numpy())).sum().backward()
    grad = model.weight.grad.numpy()
    model.to(device)
    assert {tensor.device for tensor in (model.weight, model.bias, model.weight.grad)} == {device}
    np.testing.assert_array_equal(model.weight.grad.numpy(), grad)
    assert model(Tensor(np.ones((1, 2)), device=device)).device is device


def test_an_optimizer_goes_on_after_to(device):
    model = nn.Linear(2, 2, device=cpu_numpy())
    optimizer = optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.reset_grad()
        model(Tensor(np.ones((1, 2)), device=model.weight.device, dtype=model.weight.dtype)).sum().backward()
        optimizer.step()
        model.to(device, "float64")
    # Adam's steps are lr long while the gradient stays the same.
    np.random.seed(0)
    np.testing.assert_allclose(model.weight.numpy(), nn.Linear(2, 2).weight.numpy() - 0.02, rtol=1e-6)


def test_to_errors():
    with pytest.raises(TypeError, match="to: device 'float64': expected a Device .* a dtype goes by dtype="):
        nn.Linear(2, 2).to("float64")
    with pytest.raises(DTypeError, match="to: dtype int32: expected a floating one"):
        nn.Linear(2, 2).to(dtype="int32")


def test_repr():
    model = nn.Sequential(
        nn.Linear(784, 100), nn.Residual(nn.Sequential(nn.BatchNorm1d(100), nn.ReLU())), nn.Dropout(0.25)
    )
    assert repr(model.eval()).splitlines() == [
        "Sequential: 78,700 parameters",
        "  modules.0: Linear(in_features=784, out_features=100): 78,500 parameters",
        "  modules.1: Residual: 200 parameters",
        "    fn: Sequential: 200 parameters",
        "      modules.0: BatchNorm1d(dim=100, eps=1e-05, momentum=0.1): 200 parameters",
        "      modules.1: ReLU",
        "  modules.2: Dropout(p=0.25)",
    ]
