from __future__ import annotations

import numpy as np
import pytest

from needle import nn, optim
from needle.autograd import Tensor
from needle.errors import DTypeError, ShapeError
from tests.nn import attention_reference as reference
from tests.ops.gradient_check import check_gradients

TOLERANCE = {"float32": 1e-4, "float64": 1e-12}  # relative to the largest value

LAYER_NAMES = [
    *(f"attention.prenorm_{name}.{part}" for name in "qkv" for part in ("weight", "bias")),
    *(f"attention.{name}_projection.weight" for name in ("q", "k", "v", "out")),
    *(f"{name}.{part}" for name in ("prenorm", "linear1", "linear2") for part in ("weight", "bias")),
]


def transformer(device, dtype="float64", **settings):
    """Two layers on 4 features, with random parameters."""
    model = nn.Transformer(4, 5, 2, num_head=2, dim_head=3, sequence_len=7, device=device, dtype=dtype, **settings)
    return model, reference.randomize(model)


def assert_close(met: Tensor, expected: np.ndarray, dtype: str) -> None:
    assert met.shape == expected.shape and met.dtype == dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(met.numpy() / scale, expected / scale, rtol=0, atol=TOLERANCE[dtype])


def set_parameters(layer, **values):
    """Fills parameters, named with _ for the points, with a value each."""
    parameters = {name.replace(".", "_"): parameter for name, parameter in layer.named_parameters()}
    for name, value in values.items():
        parameters[name].cached_data[...] = value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_layer_is_that_of_the_reference(causal, dtype, device):
    layer = nn.TransformerLayer(4, 2, 3, 5, causal=causal, device=device, dtype=dtype)
    state = reference.randomize(layer)
    x = np.random.randn(2, 6, 4)
    out = layer(Tensor(x, device=device, dtype=dtype))
    assert out.device is device
    assert_close(out, reference.transformer_layer(state, x, 2, causal), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 3, 7])
def test_a_transformer_is_that_of_the_reference(length, causal, dtype, device):
    model, state = transformer(device, dtype, causal=causal)
    x = np.random.randn(length, 2, 4)
    out, _ = model(Tensor(x, device=device, dtype=dtype))
    expected = x.transpose(1, 0, 2) + state["position_embedding.weight"][:length]
    for index in range(2):
        expected = reference.transformer_layer(reference.part_of(state, f"layers.{index}"), expected, 2, causal)
    assert_close(out, expected.transpose(1, 0, 2), dtype)


def test_batch_first(device):
    x = np.random.randn(5, 2, 4)
    model, state = transformer(device)
    other, _ = transformer(device, batch_first=True)
    other.load_state_dict(state)
    expected = model(Tensor(x, device=device, dtype="float64"))[0].numpy()
    met = other(Tensor(x.transpose(1, 0, 2), device=device, dtype="float64"))[0].numpy()
    np.testing.assert_allclose(met.transpose(1, 0, 2), expected, rtol=1e-12, atol=1e-12)


def test_the_state_goes_through(device):
    model, _ = transformer(device)
    x, h = (Tensor(np.random.randn(3, 2, 4), device=device, dtype="float64") for _ in range(2))
    assert model(x)[1] is None and model(x, h)[1] is h
    np.testing.assert_array_equal(model(x, h)[0].numpy(), model(x)[0].numpy())


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_a_layer(causal, device):
    layer = nn.TransformerLayer(3, 2, 2, 4, causal=causal, device=device, dtype="float64")
    state = reference.randomize(layer)

    def function(x, *parameters):
        for name, parameter in zip(state, parameters):
            reference.put(layer, name, parameter)
        return layer(x)

    check_gradients(function, [np.random.randn(2, 3, 3), *state.values()], device, order=1)


def test_gradients_of_the_positions(device):
    model, state = transformer(device)

    def function(x, positions):
        reference.put(model, "position_embedding.weight", positions)
        return model(x)[0]

    arrays = [np.random.randn(3, 2, 4), state["position_embedding.weight"]]
    check_gradients(function, arrays, device, order=1)
    x, positions = (Tensor(array, device=device, dtype="float64") for array in arrays)
    function(x, positions).sum().backward()
    np.testing.assert_array_equal(positions.grad.numpy()[3:], 0)  # no token stands there


@pytest.mark.parametrize("changed", range(6))
def test_a_token_changes_no_output_before_it(changed, device):
    x = np.random.randn(6, 2, 4)
    other = x.copy()
    other[changed] += np.random.randn(2, 4)
    for causal in (True, False):
        model, _ = transformer(device, "float32", causal=causal)
        a, b = (model(Tensor(value, device=device))[0].numpy() for value in (x, other))
        same = [(a[t] == b[t]).all() for t in range(6)]
        assert same == [causal and t < changed for t in range(6)]


def test_the_residual_stream_is_not_normalized(device):
    """Where both branches give 0, what comes in goes out as it is."""
    layer = nn.TransformerLayer(4, 2, 3, 5, device=device)
    set_parameters(layer, attention_out_projection_weight=0, linear2_weight=0, linear2_bias=0)
    x = Tensor(np.random.randn(2, 3, 4) * 7 + 3, device=device)
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())


def test_dropout_in_evaluation_mode_is_none(device):
    plain, state = transformer(device)
    model, _ = transformer(device, dropout=0.5)
    model.load_state_dict(state)
    x = Tensor(np.random.randn(5, 2, 4), device=device, dtype="float64")
    expected = plain(x)[0].numpy()
    assert (model(x)[0].numpy() != expected).mean() > 0.9
    assert (model(x)[0].numpy() != model(x)[0].numpy()).mean() > 0.9
    np.testing.assert_array_equal(model.eval()(x)[0].numpy(), expected)


def test_where_dropout_stands(device):
    """On the attention's output, on the hidden units and on the output of the second Linear, each with p = 0.5."""
    layer = nn.TransformerLayer(8, 2, 3, 8, dropout=0.5, device=device, dtype="float64")
    x = Tensor(np.random.randn(20, 20, 8), device=device, dtype="float64")
    margin = 5 * np.sqrt(0.25 / x.size)

    def added():
        return layer(x).numpy() - x.numpy()

    assert layer.attention.attn.dropout.p == 0.5
    set_parameters(layer, linear2_weight=0, linear2_bias=0)
    assert abs((added() == 0).mean() - 0.5) < margin
    set_parameters(layer, attention_out_projection_weight=0, linear2_bias=1)
    np.testing.assert_allclose(np.unique(added().round(9)), [0, 2])
    assert abs((added() > 1).mean() - 0.5) < margin
    set_parameters(layer, linear1_weight=0, linear1_bias=1, linear2_bias=0, linear2_weight=np.eye(8))
    np.testing.assert_allclose(np.unique(added().round(9)), [0, 4])
    assert abs((added() > 1).mean() - 0.25) < margin


def test_initial_values_are_drawn_in_order(device):
    """The positions, then each layer: attention, first Linear, second Linear."""
    np.random.seed(4)
    model = nn.Transformer(4, 5, 2, num_head=2, dim_head=3, sequence_len=7, device=device, dtype="float64")
    np.random.seed(4)
    state = {"position_embedding.weight": np.random.randn(7, 4)}
    for index in range(2):
        layer = nn.TransformerLayer(4, 2, 3, 5, device=device, dtype="float64")
        state.update({f"layers.{index}.{name}": value for name, value in layer.state_dict().items()})
    assert list(state) == list(model.state_dict())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])

    np.random.seed(5)
    layer = nn.TransformerLayer(4, 2, 3, 5, device=device, dtype="float64")
    np.random.seed(5)
    attention = nn.AttentionLayer(4, 2, 3, device=device, dtype="float64")
    linear1, linear2 = (nn.Linear(*sizes, device=device, dtype="float64") for sizes in ((4, 5), (5, 4)))
    for met, expected in ((layer.attention, attention), (layer.linear1, linear1), (layer.linear2, linear2)):
        for name, value in expected.state_dict().items():
            np.testing.assert_array_equal(met.state_dict()[name], value)


def test_names_of_the_parameters(device):
    model, _ = transformer(device)
    model(Tensor(np.zeros((3, 2, 4)), device=device, dtype="float64"))
    layers = [f"layers.{index}.{name}" for index in range(2) for name in LAYER_NAMES]
    assert list(model.state_dict()) == ["position_embedding.weight", *layers]
    assert len(model.parameters()) == len(model.state_dict())


def test_it_moves_to_another_dtype(device):
    """The mask, which is no part of the module's state, follows the input."""
    model, _ = transformer(device, "float32")
    x = np.random.randn(3, 2, 4)
    before = model(Tensor(x, device=device))[0].numpy()
    after = model.to(dtype="float64")(Tensor(x, device=device, dtype="float64"))[0]
    assert after.dtype == "float64"
    np.testing.assert_allclose(after.numpy(), before, rtol=0, atol=1e-4 * np.abs(before).max())


def test_it_learns_to_look_back(device):
    """The output at each position is to name the token before, which only attention can bring there."""
    embedding, readout = nn.Embedding(5, 16, device=device), nn.Linear(16, 5, device=device)
    model = nn.Transformer(16, 32, 1, num_head=2, dim_head=8, sequence_len=6, device=device)
    parameters = [*embedding.parameters(), *model.parameters(), *readout.parameters()]
    optimizer = optim.Adam(parameters, lr=0.01)
    losses = []
    for _ in range(100):
        tokens = np.random.randint(0, 5, (6, 32))
        outputs, _ = model(embedding(Tensor(tokens, device=device, dtype="int32")))
        labels = Tensor(tokens[:-1].ravel(), device=device, dtype="int32")
        loss = nn.SoftmaxLoss()(readout(outputs[1:].reshape((-1, 16))), labels)
        optimizer.reset_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1 and np.mean(losses[-5:]) < 0.2  # log(5) = 1.6 without looking


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 5), (0, 3, 4), (2, 0, 4)])
def test_inputs_of_a_layer_of_a_wrong_shape(shape):
    with pytest.raises(ShapeError) as error:
        nn.TransformerLayer(4, 2, 3, 5)(Tensor(np.zeros(shape)))
    assert str(error.value) == (
        f"TransformerLayer(q_features=4): an input of shape {shape}: expected (B, T, 4), no extent 0"
    )


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 5), (0, 3, 4), (2, 0, 4), (8, 1, 4)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_of_a_wrong_shape(shape, batch_first, device):
    if batch_first and len(shape) == 3:
        shape = (shape[1], shape[0], shape[2])
    model, _ = transformer(device, "float32", batch_first=batch_first)
    with pytest.raises(ShapeError) as error:
        model(Tensor(np.zeros(shape), device=device))
    assert str(error.value) == (
        f"Transformer(embedding_size=4, sequence_len=7, batch_first={batch_first}): an input of shape {shape}: "
        f"expected ({'B, T' if batch_first else 'T, B'}, 4), no extent 0, T at most 7"
    )


@pytest.mark.parametrize(
    "layer, settings",
    [
        (nn.TransformerLayer, {"q_features": 4, "num_head": 2, "dim_head": 3, "hidden_size": 5}),
        (
            nn.Transformer,
            {"embedding_size": 4, "hidden_size": 5, "num_layers": 1}
            | {"num_head": 2, "dim_head": 3, "sequence_len": 7},
        ),
    ],
)
def test_wrong_settings(layer, settings):
    layer(**settings)
    for name in settings:
        with pytest.raises(ValueError, match=f"{layer.__name__}: {name} of 0: expected a whole number of 1 or more"):
            layer(**{**settings, name: 0})
    with pytest.raises(ValueError, match="Dropout: a probability of -0.1: expected 0 <= p < 1"):
        layer(**settings, dropout=-0.1)
    with pytest.raises(DTypeError, match=f"{layer.__name__}: dtype int32: expected a floating one"):
        layer(**settings, dtype="int32")
