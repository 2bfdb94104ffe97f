"""autocast: what every operation gives, what parameters and gradients see of it, contexts in contexts and in threads."""

import gc
import inspect
import re
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import needle as ndl
from needle import nn, ops
from needle.amp import PRECISION, autocast
from needle.amp.precision import LOW
from needle.autograd import Parameter, Tensor, autocasting, gradients, no_grad
from needle.errors import DTypeError
from tests.ops.gradient_check import central_differences

HALF = ["float16", "bfloat16"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "mixed-precision.md"


def _labels(x: Tensor) -> Tensor:
    return Tensor([0, 1, 2], device=x.device, dtype="int64", requires_grad=False)


def _parameter(x: Tensor, *shape: int) -> Parameter:
    return Parameter(np.random.rand(*shape), device=x.device)


# How each operation is called with a tensor x (3, 4) of positive numbers.
CALLS = {
    "matmul": lambda x: ops.matmul(x, _parameter(x, 4, 2)),
    "linear": lambda x: ops.linear(x, _parameter(x, 4, 2), _parameter(x, 2), "relu"),
    "conv": lambda x: ops.conv(ops.reshape(x, (1, 3, 4, 1)), _parameter(x, 3, 3, 1, 2), bias=_parameter(x, 2)),
    "rnn": lambda x: ops.rnn(
        ops.reshape(x, (3, 1, 4)), _parameter(x, 4, 2), _parameter(x, 2, 2), _parameter(x, 2), _parameter(x, 1, 2)
    ),
    "lstm": lambda x: ops.lstm(
        ops.reshape(x, (3, 1, 4)), _parameter(x, 4, 8), _parameter(x, 2, 8), _parameter(x, 8),
        _parameter(x, 1, 2), _parameter(x, 1, 2),
    ),
    "batch_norm": lambda x: ops.batch_norm(x, _parameter(x, 4), _parameter(x, 4))[0],
    "batch_norm_inference": lambda x: ops.batch_norm_inference(x, *(_parameter(x, 4) for _ in range(4))),
    "layer_norm": lambda x: ops.layer_norm(x, _parameter(x, 4), _parameter(x, 4)),
    "softmax_cross_entropy": lambda x: ops.softmax_cross_entropy(x, _labels(x)),
    "power": lambda x: ops.concatenate([ops.power(x, 2), ops.power(2, x), 2 / x, ops.power(x, x)]),
    "power_scalar": lambda x: ops.power_scalar(x, 2.5),
    "add_scalar": lambda x: ops.add_scalar(x, 2.5),
    "mul_scalar": lambda x: ops.mul_scalar(x, 2.5),
    "divide_scalar": lambda x: ops.divide_scalar(x, 2.5),
    "where": lambda x: ops.where(x > 0.5, x, 0.0),
    "gather": lambda x: ops.gather(x, _labels(x)),
    "embedding": lambda x: ops.embedding(_labels(x), x),
    "max_pool2d": lambda x: ops.max_pool2d(ops.reshape(x, (1, 3, 4, 1)), 2),
    "avg_pool2d": lambda x: ops.avg_pool2d(ops.reshape(x, (1, 3, 4, 1)), 2),
    "reshape": lambda x: ops.reshape(x, (4, 3)),
    "permute": lambda x: ops.permute(x, (1, 0)),
    "broadcast_to": lambda x: ops.broadcast_to(x, (2, 3, 4)),
    "getitem": lambda x: x[1:],
    "pad": lambda x: ops.pad(x, ((1, 1), (0, 0))),
    "dilate": lambda x: ops.dilate(x, (0,), 1),
    "undilate": lambda x: ops.undilate(x, (0,), 1),
    "stack": lambda x: ops.stack([x, x]),
    "split": lambda x: ops.split(x)[0],
    "concatenate": lambda x: ops.concatenate([x, x]),
} | {
    name: getattr(ops, name)
    for name in "exp log sum mean logsumexp softmax log_softmax negate abs sign relu gelu sigmoid tanh erf sin cos "
    "sqrt max min dropout transpose flip zeros_like ones_like".split()
} | {
    name: lambda x, name=name: getattr(ops, name)(x, x)
    for name in "ewise_pow add add_relu subtract multiply divide maximum minimum".split()
}  # fmt: skip


def documented() -> dict[str, list[str]]:
    """The rows of the document's table: the operations of each precision."""
    rows = re.findall(
        r"^\| (the context's|float32|that of x|that of their|none)[^|]*\| (.*) \|$", DOCUMENT.read_text(), re.M
    )
    return {precision: re.findall(r"`(\w+)`", names) for precision, names in rows}


def test_the_document_has_every_operation_once():
    names = [name for row in documented().values() for name in row] + ["rnn_cell", "lstm_cell"]
    functions = [name for name, value in vars(ops).items() if inspect.isfunction(value) and value.__name__ == name]
    assert sorted(names) == sorted(functions)
    assert set(CALLS) == {name for precision, row in documented().items() if precision != "none" for name in row}


def test_the_document_has_the_rows_of_the_table():
    def operations(precision):
        return {op.__name__ for op, where in PRECISION.items() if where is precision}

    assert operations(LOW) == {"MatMul", "Linear", "Conv", "RNN", "LSTM"}
    assert documented()["the context's"] == "matmul linear conv rnn lstm".split()
    assert {name.lower() for name in operations(ndl.float32)} == {
        "exp", "log", "powerscalar", "rpowerscalar", "rdivscalar", "ewisepow", "summation", "mean",
        "logsumexp", "softmax", "logsoftmax", "softmaxcrossentropy",
    }  # fmt: skip
    assert len(documented()["float32"]) == len(operations(ndl.float32)) - 1  # RDivScalar is none of its own there


@pytest.mark.parametrize("given", ["float32", "same"])
@pytest.mark.parametrize("low", HALF)
@pytest.mark.parametrize("name", CALLS)
def test_what_every_operation_gives(name, low, given, device):
    """Forward in the precision of the document, backward to a float32 leaf in float32, and numbers that are right."""
    given = low if given == "same" else given
    leaf = Parameter(np.random.rand(3, 4) + 0.1, device=device)
    x = ops.cast(leaf, given)
    np.random.seed(1)
    ndl.manual_seed(1)
    exact = CALLS[name](leaf)
    np.random.seed(1)
    ndl.manual_seed(1)
    with autocast(low):
        out = CALLS[name](x)
    out, exact = (value[0] if isinstance(value, tuple) else value for value in (out, exact))
    precision = next(precision for precision, row in documented().items() if name in row)
    expected = {"the context's": low, "float32": "float32"}.get(precision, given)
    assert out.dtype == expected and out.shape == exact.shape
    np.testing.assert_allclose(out.numpy().astype(np.float32), exact.numpy(), rtol=0.05, atol=0.05)
    if exact.requires_grad:
        (actual,), (wanted,) = gradients(out, [leaf]), gradients(exact, [leaf])
        assert actual.dtype == "float32"
        np.testing.assert_allclose(actual.numpy(), wanted.numpy(), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("low", HALF)
def test_the_steps_of_recurrent_layers(low, device):
    cell = nn.LSTMCell(4, 2, device=device)
    x = Parameter(np.random.rand(3, 4), device=device)
    with autocast(low):
        h, c = cell(x)
        assert nn.RNNCell(4, 2, device=device)(x).dtype == h.dtype == c.dtype == "float32"
    np.testing.assert_allclose(h.numpy(), cell(x)[0].numpy(), atol=0.02)


def test_two_half_types_and_float32_promote(device):
    x, y, z = (Tensor([1.0], device=device, dtype=dtype) for dtype in ("float16", "float32", "bfloat16"))
    with autocast("float16"):
        assert (x + y).dtype == (x + z).dtype == "float32" and (x + x).dtype == "float16"


@pytest.mark.parametrize("low", HALF)
def test_float64_and_integers_are_left_alone(low, device):
    a = Tensor(np.eye(2), device=device, dtype="float64")
    b = Parameter(np.eye(2), device=device)
    whole = Tensor([[1, 2], [3, 4]], device=device)
    with autocast(low):
        assert (a @ b).dtype == "float64" and a.sum().dtype == "float64"
        assert (whole @ whole).dtype == whole.sum().dtype == "int64"


def test_another_dtype_is_refused():
    for dtype in ("float32", "float64", "int8"):
        with pytest.raises(DTypeError, match=f"autocast: dtype {dtype}: expected float16 or bfloat16"):
            autocast(dtype)
    with pytest.raises(DTypeError, match="dtype fp8 is not one of Needle's"):
        autocast("fp8")


# Gradients


def model_and_loss(kind: str, device):
    """A model that can be called without arguments, as its loss."""
    labels = Tensor(np.random.randint(0, 5, 8), device=device, dtype="int64", requires_grad=False)
    if kind == "convolutions":
        x = Tensor(np.random.randn(8, 3, 8, 8), device=device, requires_grad=False)
        model = nn.Sequential(
            nn.Conv(3, 8, 3, device=device), nn.BatchNorm2d(8, device=device, nonlinearity="relu"), nn.MaxPool2d(2),
            nn.Residual(nn.Conv(8, 8, 3, device=device)), nn.Flatten(), nn.Linear(128, 5, device=device),
        )  # fmt: skip
        return model, lambda: nn.SoftmaxLoss()(model(x), labels)
    x = Tensor(np.random.randn(2, 4, 16), device=device, requires_grad=False)
    if kind == "lstm":
        model = nn.Sequential(nn.LSTM(16, 12, 2, device=device), nn.Linear(12, 5, device=device))
        return model, lambda: nn.SoftmaxLoss()(model.modules[1](model.modules[0](x)[0].reshape((8, 12))), labels)
    model = nn.Sequential(nn.TransformerLayer(16, 2, 8, 32, device=device), nn.Linear(16, 5, device=device))
    return model, lambda: nn.SoftmaxLoss()(model(x).reshape((8, 5)), labels)


@pytest.mark.parametrize("low, tolerance", [("float16", 0.01), ("bfloat16", 0.06)])
@pytest.mark.parametrize("kind", ["convolutions", "lstm", "transformer"])
def test_gradients_of_models(kind, low, tolerance, device):
    model, loss = model_and_loss(kind, device)
    loss().backward()
    exact = [parameter.grad.numpy() for parameter in model.parameters()]
    with autocast(low):
        value = loss()
    value.backward()
    assert value.dtype == "float32"
    for parameter, expected in zip(model.parameters(), exact):
        assert parameter.grad.dtype == parameter.dtype == "float32"
        error = np.linalg.norm(parameter.grad.numpy() - expected)
        assert error <= tolerance * max(np.linalg.norm(expected), 0.05), parameter.shape


@pytest.mark.parametrize("kind", ["convolutions", "lstm", "transformer"])
def test_the_backward_pass_is_the_same_within_the_context_and_after_it(kind, device):
    model, loss = model_and_loss(kind, device)
    with autocast("bfloat16"):
        loss().backward()
    within = [parameter.grad.numpy().tobytes() for parameter in model.parameters()]
    with autocast("bfloat16"):
        value = loss()
    value.backward()
    assert within == [parameter.grad.numpy().tobytes() for parameter in model.parameters()]
    with autocast("bfloat16"):
        value = loss()
    with autocast("float16"):
        value.backward()
    assert within == [parameter.grad.numpy().tobytes() for parameter in model.parameters()]


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_backward_pass_multiplies_in_the_dtype_of_the_forward_pass(create_graph, device, monkeypatch):
    met = []
    compute = ops.MatMul.compute
    monkeypatch.setattr(ops.MatMul, "compute", lambda op, a, b: met.append((a.dtype, b.dtype)) or compute(a, b))
    a, b = (Parameter(np.random.rand(3, 3), device=device) for _ in range(2))
    with autocast("bfloat16"):
        loss = ((a @ b) * 2.0 + Tensor(np.ones((3, 3)), device=device)).sum()  # float32 from the sum on
    loss.backward(create_graph=create_graph)
    assert met == [("bfloat16", "bfloat16")] * 3


def test_an_adjoint_has_the_dtype_of_its_value(device):
    x = Tensor([1.0, 2.0], device=device, dtype="float16")
    y = Tensor([3.0, 4.0], device=device)
    (x * y).sum().backward()
    assert x.grad.dtype == "float16" and y.grad.dtype == "float32"
    x.sum().backward(Tensor(2.0, device=device))
    assert x.grad.dtype == "float16" and x.grad.numpy().tolist() == [2, 2]


def test_gradients_of_gradients(device):
    w = Parameter([[0.5]], device=device)
    x = Tensor([[1.5]], device=device, requires_grad=False)
    with autocast("float16"):
        y = ops.exp(x @ w @ w)
    (first,) = gradients(y, [w])
    (second,) = gradients(first, [w])
    (expected,) = central_differences(lambda v: 2 * 1.5 * v.item() * np.exp(1.5 * v.item() ** 2), [np.array([[0.5]])])
    assert first.dtype == second.dtype == "float32"
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-2)


# Contexts


def test_nested_and_disabled():
    a = Parameter(np.eye(2))
    assert autocasting() is None
    with autocast("float16"):
        assert (a @ a).dtype == "float16"
        with autocast("bfloat16"):
            assert (a @ a).dtype == "bfloat16"
            with autocast(enabled=False):
                assert (a @ a).dtype == "float32"
                with autocast("float16"):
                    assert (a @ a).dtype == "float16"
            assert (a @ a).dtype == "bfloat16"
        assert (a @ a).dtype == "float16"
        with pytest.raises(ZeroDivisionError), autocast(enabled=False):
            1 / 0
        assert (a @ a).dtype == "float16"
    assert autocasting() is None and (a @ a).dtype == "float32"


def test_as_a_decorator_and_bfloat16_by_default():
    a = Parameter(np.eye(2))

    @autocast()
    def square(depth=2):
        return square(depth - 1) if depth else a @ a

    assert square().dtype == square().dtype == "bfloat16" and (a @ a).dtype == "float32"


def test_it_holds_for_its_own_thread():
    a = Parameter(np.eye(2))
    dtypes = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        dtypes["before"] = (a @ a).dtype
        with autocast("bfloat16"):
            inside.set()
            assert done.wait(10)
            dtypes["within"] = (a @ a).dtype

    with autocast("float16"):
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        dtypes["here"] = (a @ a).dtype
        done.set()
        thread.join()
    assert dtypes == {"before": "float32", "within": "bfloat16", "here": "float16"}


# Casts of parameters


@pytest.fixture
def casts(monkeypatch):
    """The shapes of all that is cast."""
    shapes = []
    compute = ops.Cast.compute
    monkeypatch.setattr(ops.Cast, "compute", lambda op, a: shapes.append(a.shape) or compute(op, a))
    return shapes


def test_a_parameter_is_cast_once(casts, device):
    layer = nn.Linear(2, 2, bias=False, device=device)
    x = Tensor(np.ones((3, 2)), device=device, requires_grad=False)
    with autocast("float16"):
        y = layer(layer(layer(x)))
        with autocast("float16"):
            y = layer(y)
    assert casts == [(3, 2), (2, 2)]
    y.sum().backward()
    with autocast("float16"):
        layer(x)
    assert casts.count((2, 2)) == 3  # once more, and the gradient, which is summed in float16 first, back


def _optimizer_step(layer):
    layer.weight.grad = Tensor(np.ones((2, 2)))
    ndl.optim.SGD(layer.parameters(), lr=1.0).step()


def _state(layer):
    layer.load_state_dict({"weight": np.full((2, 2), 5.0)})


def _data(layer):
    layer.weight.data = Tensor(np.full((2, 2), 6.0))


@pytest.mark.parametrize("change", [_optimizer_step, _state, _data])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_parameter_that_changes_is_cast_again(change, recorded):
    layer = nn.Linear(2, 2, bias=False)
    x = Tensor(np.eye(2), requires_grad=False)
    with autocast("bfloat16"), ndl.autograd.computing(recording=recorded):
        layer(x)
        change(layer)
        np.testing.assert_array_equal(layer(x).numpy(), ops.cast(layer.weight, "bfloat16").numpy())


def test_a_cast_that_was_not_recorded_is_not_used_where_it_must_be():
    layer = nn.Linear(2, 2, bias=False)
    x = Tensor(np.eye(2), requires_grad=False)
    with autocast("bfloat16"):
        for _ in range(2):
            with no_grad():
                assert not layer(x).requires_grad
            layer(x).sum().backward()  # and lets its graph go
            assert layer.weight.grad.numpy().tolist() == [[1, 1], [1, 1]]
        layer.weight.requires_grad = False
        assert not layer(x).requires_grad


def test_two_losses_of_one_context(device):
    """Both have the parameter's one cast in their graphs."""
    model, x = nn.Linear(2, 1, device=device), Tensor([[1.0, 2.0]], device=device, requires_grad=False)
    with ndl.autocast("bfloat16"):
        first, second = model(x).sum(), (model(x) * 3).sum()
    first.backward()
    grad = model.weight.grad.numpy()
    second.backward()
    np.testing.assert_array_equal(model.weight.grad.numpy(), 3 * grad)


def test_casts_are_gone_with_the_context():
    layer = nn.Linear(2, 2, bias=False)
    with autocast("float16"):
        cast = weakref.ref(layer(Tensor(np.eye(2))).inputs[1])
        assert cast().dtype == "float16"
        gc.collect()
        assert cast() is not None
    gc.collect()
    assert cast() is None
    parameter = weakref.ref(layer.weight)
    del layer
    gc.collect()
    assert parameter() is None


def test_a_training_loop_within_one_context_is_the_one_with_a_context_for_each_step(device):
    def train(outer: bool) -> list[bytes]:
        np.random.seed(0)
        model, loss = model_and_loss("convolutions", device)
        optimizer = ndl.optim.Adam(model.parameters(), lr=0.01)
        with autocast("bfloat16", enabled=outer):
            for _ in range(3):
                with autocast("bfloat16"):
                    value = loss()
                optimizer.reset_grad()
                value.backward()
                optimizer.step()
        return [parameter.numpy().tobytes() for parameter in model.parameters()]

    assert train(True) == train(False)


def test_float16_overflow_is_infinite(device):
    a = Parameter([[300.0]], device=device)
    with autocast("float16"):
        product = a @ a
        assert np.isinf(product.item())
        loss = nn.SoftmaxLoss()(product, Tensor([0], device=device, dtype="int64", requires_grad=False))
    loss.backward()
    assert not np.isfinite(a.grad.item())
