from __future__ import annotations

import numpy as np
import pytest

from needle import nn
from needle.autograd import Tensor
from needle.errors import DTypeError, ShapeError
from tests.nn import attention_reference as reference
from tests.ops.gradient_check import check_gradients

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
LENGTHS = [(4, 4), (2, 5), (1, 3), (1, 1)]  # (T_q, T_k)


def random_heads(queries, keys, width=3, value_width=3):
    """q, k and v for 2 examples and 3 heads."""
    return [np.random.randn(2, 3, *shape) for shape in ((queries, width), (keys, width), (keys, value_width))]


def tensors(arrays, device, dtype="float64"):
    return [Tensor(array, device=device, dtype=dtype) for array in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries, keys", LENGTHS)
def test_attention_is_that_of_the_reference(queries, keys, causal, dtype, device):
    arrays = random_heads(queries, keys, value_width=5)
    met = nn.MultiHeadAttention(causal=causal)(*tensors(arrays, device, dtype))
    for tensor, expected in zip(met, reference.attention(*arrays, causal)):
        assert tensor.shape == expected.shape and tensor.dtype == dtype and tensor.device is device
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_causal_without_arguments():
    assert not nn.MultiHeadAttention().causal  # as in the course: the layer decides
    assert nn.AttentionLayer(2, 1, 2).attn.causal


def test_more_queries_than_keys_where_all_keys_are_seen(device):
    arrays = random_heads(5, 2)
    result, _ = nn.MultiHeadAttention()(*tensors(arrays, device))
    np.testing.assert_allclose(result.numpy(), reference.attention(*arrays, False)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries, keys", [(3, 3), (2, 3)])
def test_gradients_of_attention(queries, keys, causal, device):
    attend = nn.MultiHeadAttention(causal=causal)
    arrays = [array[:1, :2] for array in random_heads(queries, keys, 2, 2)]
    check_gradients(lambda *inputs: attend(*inputs)[0], arrays, device)
    check_gradients(lambda q, k: attend(q, k, k)[1], arrays[:2], device, order=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_mask_in_every_dtype(dtype, device):
    """What lies ahead weighs exactly 0, and nothing overflows: q k^T does pass the 65504 of float16."""
    arrays = [np.random.choice([-40.0, 40.0], (1, 2, 5, 64)) for _ in range(3)]
    q, k, v = tensors(arrays, device, dtype)
    q.cached_data[:, :, 0] = k.cached_data[:, :, 0]  # q k^T = 64 * 40^2 = 102400
    result, probs = nn.MultiHeadAttention(causal=True)(q, k, v)
    result.sum().backward()
    assert result.dtype == probs.dtype == dtype
    probs = probs.numpy().astype(np.float64)
    np.testing.assert_array_equal(probs[:, :, ~np.tri(5, dtype=bool)], 0)
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-2)
    np.testing.assert_array_equal(result.numpy()[:, :, 0], v.numpy()[:, :, 0])
    for tensor in (result, q.grad, k.grad, v.grad):
        assert np.isfinite(tensor.numpy().astype(np.float64)).all()


def test_no_score_outweighs_the_mask(device):
    """Scores of 1e8 for the keys ahead and -1e8 for the others."""
    q, k = np.full((1, 1, 4, 1), 1e4), np.array([-1e4, -1e4, 1e4, 1e4]).reshape(1, 1, 4, 1)
    _, probs = nn.MultiHeadAttention(causal=True)(*tensors((q, k, k), device, "float32"))
    expected = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 0.5]]
    np.testing.assert_array_equal(probs.numpy()[0, 0], expected)


def test_dropout_of_probabilities_in_training_only(device):
    arrays = random_heads(20, 20)
    plain, _ = nn.MultiHeadAttention()(*tensors(arrays, device))
    _, probs = reference.attention(*arrays, False)
    layer = nn.MultiHeadAttention(dropout=0.25)
    result, dropped = (tensor.numpy() for tensor in layer(*tensors(arrays, device)))
    kept = dropped != 0
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    np.testing.assert_allclose(dropped, np.where(kept, probs / 0.75, 0), rtol=1e-10)
    np.testing.assert_allclose(result, dropped @ arrays[2], rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(layer.eval()(*tensors(arrays, device))[0].numpy(), plain.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
def test_the_layer_is_that_of_the_reference(causal, dtype, device):
    features = {"k_features": 4, "v_features": 6, "out_features": 7}
    layer = nn.AttentionLayer(5, 2, 3, causal=causal, device=device, dtype=dtype, **features)
    state = reference.randomize(layer)
    arrays = [np.random.randn(2, length, width) for length, width in ((3, 5), (4, 4), (4, 6))]
    out = layer(*tensors(arrays, device, dtype))
    expected = reference.attention_layer(state, *arrays, 2, causal)
    assert out.shape == (2, 3, 7) and out.dtype == dtype and out.device is device
    tolerance = 10 * TOLERANCE[dtype]
    np.testing.assert_allclose(out.numpy(), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_keys_and_values_are_the_queries_unless_given(device):
    layer = nn.AttentionLayer(4, 2, 3, device=device, dtype="float64")
    reference.randomize(layer)
    x, y = tensors(np.random.randn(2, 2, 5, 4), device)
    np.testing.assert_array_equal(layer(x).numpy(), layer(x, x, x).numpy())
    np.testing.assert_array_equal(layer(x, y).numpy(), layer(x, y, x).numpy())
    np.testing.assert_array_equal(layer(x, v=y).numpy(), layer(x, x, y).numpy())


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_the_layer(causal, device):
    layer = nn.AttentionLayer(3, 2, 2, causal=causal, device=device, dtype="float64")
    state = reference.randomize(layer)

    def function(x, *parameters):
        for name, parameter in zip(state, parameters):
            reference.put(layer, name, parameter)
        return layer(x)

    check_gradients(function, [np.random.randn(2, 3, 3), *state.values()], device, order=1)


def test_the_layer_normalizes_its_inputs(device):
    """Pre-norm: stretched and shifted inputs give the same output, where what comes out is not normalized."""
    layer = nn.AttentionLayer(8, 2, 3, device=device, dtype="float64")
    q, k, v = np.random.randn(3, 2, 5, 8)
    out = layer(*tensors((q, k, v), device)).numpy()
    moved = layer(*tensors((2 * q + 1, 3 * k - 2, 4 * v + 3), device)).numpy()
    np.testing.assert_allclose(moved, out, rtol=1e-3, atol=1e-4)
    assert np.abs(out.mean(-1)).max() > 0.01


def test_initial_weights_are_drawn_in_order(device):
    np.random.seed(3)
    layer = nn.AttentionLayer(5, 2, 3, k_features=4, v_features=6, out_features=7, device=device, dtype="float64")
    np.random.seed(3)
    for name, rows, columns in (("q", 5, 6), ("k", 4, 6), ("v", 6, 6), ("out", 6, 7)):
        projection = getattr(layer, f"{name}_projection")
        expected = (np.random.rand(rows, columns) * 2 - 1) * np.sqrt(6 / rows)
        np.testing.assert_allclose(projection.weight.numpy(), expected, rtol=1e-12)
        assert projection.bias is None


def test_names_of_the_parameters(device):
    layer = nn.AttentionLayer(4, 2, 3, device=device)
    layer(Tensor(np.ones((1, 3, 4)), device=device))
    norms = [f"prenorm_{name}.{part}" for name in "qkv" for part in ("weight", "bias")]
    projections = [f"{name}_projection.weight" for name in ("q", "k", "v", "out")]
    assert list(layer.state_dict()) == norms + projections
    assert not nn.MultiHeadAttention(causal=True).state_dict()


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (2, 3, 4), (2, 3, 4)),  # no heads
        ((2, 3, 4, 5), (2, 3, 4, 6), (2, 3, 4, 5)),  # D
        ((1, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),  # B of q
        ((2, 3, 4, 5), (2, 2, 4, 5), (2, 3, 4, 5)),  # heads of k
        ((2, 3, 4, 5), (2, 3, 4, 5), (1, 3, 4, 5)),  # B of v
        ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 5, 5)),  # T_k
        ((2, 3, 4, 0), (2, 3, 4, 0), (2, 3, 4, 5)),  # D of 0
        ((2, 3, 0, 5), (2, 3, 0, 5), (2, 3, 0, 5)),  # T of 0
    ],
)
def test_heads_that_do_not_fit(shapes):
    with pytest.raises(ShapeError) as error:
        nn.MultiHeadAttention(causal=True)(*[Tensor(np.zeros(shape)) for shape in shapes])
    assert str(error.value) == (
        f"MultiHeadAttention(causal=True): q {shapes[0]}, k {shapes[1]}, v {shapes[2]}: "
        "expected (B, heads, T_q, D), (B, heads, T_k, D) and (B, heads, T_k, D_v), no extent 0"
    )


def test_causal_queries_without_a_key():
    q, k, v = (Tensor(array) for array in random_heads(3, 2))
    met = r"q \(2, 3, 3, 3\), k \(2, 3, 2, 3\), v \(2, 3, 2, 3\)"
    with pytest.raises(ShapeError, match=f"{met}: expected no more causal queries than keys"):
        nn.MultiHeadAttention(causal=True)(q, k, v)


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 5), (3, 4), (3, 6)),
        ((2, 3, 4), (2, 3, 4), (2, 3, 6)),
        ((2, 3, 5), (2, 3, 5), (2, 3, 6)),
        ((2, 3, 5), (2, 3, 4), (2, 3, 5)),
        ((2, 3, 5), (2, 3, 4), (2, 4, 6)),
        ((2, 3, 5), (1, 3, 4), (1, 3, 6)),
        ((0, 3, 5), (0, 3, 4), (0, 3, 6)),
    ],
)
def test_inputs_of_the_layer_that_do_not_fit(shapes):
    layer = nn.AttentionLayer(5, 2, 3, k_features=4, v_features=6)
    with pytest.raises(ShapeError) as error:
        layer(*[Tensor(np.zeros(shape)) for shape in shapes])
    assert str(error.value) == (
        f"AttentionLayer: q {shapes[0]}, k {shapes[1]}, v {shapes[2]}: "
        "expected (B, T_q, 5), (B, T_k, 4) and (B, T_k, 6), no extent 0"
    )


def test_wrong_settings():
    settings = {"q_features": 4, "num_head": 2, "dim_head": 3}
    for name in (*settings, "k_features", "v_features", "out_features"):
        with pytest.raises(ValueError, match=f"AttentionLayer: {name} of 0: expected a whole number of 1 or more"):
            nn.AttentionLayer(**{**settings, name: 0})
    for layer in (nn.MultiHeadAttention, lambda **options: nn.AttentionLayer(4, 2, 3, **options)):
        with pytest.raises(ValueError, match="Dropout: a probability of 1.5: expected 0 <= p < 1"):
            layer(dropout=1.5)
        with pytest.raises(DTypeError, match="(MultiHeadAttention|AttentionLayer): dtype int32: expected a floating"):
            layer(dtype="int32")
