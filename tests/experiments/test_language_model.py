"""The language model: its shapes, its states, its dropout and its tied weights."""

import numpy as np
import pytest

import needle as ndl
from experiments.models.language_model import SEQUENCE_MODELS, LanguageModel
from needle import nn
from needle.autograd import Tensor
from needle.errors import ShapeError

IDS = np.array([[3, 1], [0, 9], [4, 4]])  # (T, B) = (3, 2)


def count(model):
    return sum(parameter.size for parameter in model.parameters())


def logits_of(model, ids=IDS, h=None):
    device = model.parameters()[0].device
    logits, h = model(Tensor(ids, device=device), h)
    return logits.numpy(), h


@pytest.mark.parametrize("seq_model", SEQUENCE_MODELS)
def test_shapes_and_gradients(device, seq_model):
    model = LanguageModel(10, 6, num_layers=2, seq_model=seq_model, device=device)
    logits, h = model(Tensor(IDS, device=device))
    assert logits.shape == (6, 10)
    if seq_model == "lstm":
        assert [state.shape for state in h] == [(2, 2, 6), (2, 2, 6)]
    elif seq_model == "rnn":
        assert h.shape == (2, 2, 6)
    nn.SoftmaxLoss()(logits, Tensor([1] * 6, device=device)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, name
        assert np.isfinite(parameter.grad.numpy()).all(), name


def test_the_front_pages_network_has_its_number_of_parameters():
    # Embedding 10,000 x 512, twice an LSTM's (512 + 512) x 2048 and two biases of 2048, linear 512 x 10,000 and a bias.
    model = LanguageModel(vocab_size=10000, hidden_size=512, num_layers=2)
    assert count(model) == 2 * 10000 * 512 + 10000 + 2 * (1024 * 2048 + 2 * 2048) == 14_452_496


def test_an_embedding_of_another_size():
    model = LanguageModel(10, 6, embedding_size=3)
    assert model.embedding.weight.shape == (10, 3) and model.linear.weight.shape == (6, 10)
    assert logits_of(model)[0].shape == (6, 10)


@pytest.mark.parametrize("seq_model", ["lstm", "rnn"])
def test_a_text_in_two_pieces_with_the_state_carried_gives_what_the_whole_gives(device, seq_model):
    model = LanguageModel(10, 6, num_layers=2, seq_model=seq_model, device=device).eval()
    whole, _ = logits_of(model)
    first, h = logits_of(model, IDS[:2])
    second, _ = logits_of(model, IDS[2:], h)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5, atol=1e-6)
    assert not np.allclose(logits_of(model, IDS[2:])[0], second)


@pytest.mark.parametrize("seq_model", SEQUENCE_MODELS)
def test_no_word_sees_those_after_it(seq_model):
    model = LanguageModel(10, 6, num_layers=2, seq_model=seq_model).eval()
    changed = IDS.copy()
    changed[2] = 7
    before, after = logits_of(model)[0], logits_of(model, changed)[0]
    np.testing.assert_array_equal(before[:4], after[:4])
    assert not np.allclose(before[4:], after[4:])


def test_logits_of_a_step_lie_together():
    """Row t * B + b belongs to word t of text b."""
    model = LanguageModel(10, 6).eval()
    logits, _ = logits_of(model)
    for b in range(2):
        np.testing.assert_allclose(logits[b::2], logits_of(model, IDS[:, b : b + 1])[0], rtol=1e-5, atol=1e-6)


# Tied weights


def test_tied_weights_are_one_parameter_with_both_gradients(device):
    model = LanguageModel(10, 6, tie_weights=True, device=device)
    assert model.linear.weight is model.embedding.weight
    assert count(model) == count(LanguageModel(10, 6, device=device)) - 60
    ids = Tensor(IDS, device=device)
    outputs, _ = model.seq_model(model.embedding(ids))
    weight, bias = model.embedding.weight.numpy(), model.linear.bias.numpy().reshape(10)
    expected = outputs.numpy().reshape(6, 6) @ weight.T + bias
    np.testing.assert_allclose(logits_of(model)[0], expected, rtol=1e-5, atol=1e-6)

    def loss():
        return nn.SoftmaxLoss()(model(ids)[0], Tensor([1, 2, 3, 4, 5, 6], device=device))

    model.to(dtype="float64")
    loss().backward()
    grad = model.embedding.weight.grad.numpy()
    for index in [(0, 0), (3, 2), (8, 1)]:  # words that are both read and predicted, and one that is only predicted
        change = np.zeros((10, 6))
        change[index] = 1e-6
        original = model.embedding.weight.numpy()
        losses = []
        for sign in (1, -1):
            model.embedding.weight.data = Tensor(original + sign * change, device=device, dtype="float64")
            losses.append(loss().item())
        model.embedding.weight.data = Tensor(original, device=device, dtype="float64")
        assert grad[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-8)


def test_tied_weights_are_saved_once_and_loaded_into_both():
    model, other = (LanguageModel(10, 6, tie_weights=True) for _ in range(2))
    state = model.state_dict()
    assert "linear.weight" not in state
    other.load_state_dict(state)
    assert other.linear.weight is other.embedding.weight
    np.testing.assert_array_equal(logits_of(model)[0], logits_of(other)[0])


def test_tied_weights_start_as_an_output_layers():
    weight = LanguageModel(1000, 24, tie_weights=True).embedding.weight.numpy()
    assert 0.49 < np.abs(weight).max() <= 0.5  # sqrt(6 / 24)


def test_a_transformers_output_is_normalized(device):
    model = LanguageModel(10, 16, num_layers=2, seq_model="transformer", device=device)
    seen = []
    forward = model.linear.forward
    model.linear.forward = lambda x: seen.append(x.numpy()) or forward(x)
    logits_of(model)
    np.testing.assert_allclose(seen[0].mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(seen[0].std(-1), 1, rtol=1e-3)


# Dropout


def test_dropout_only_while_training(device):
    model = LanguageModel(10, 64, num_layers=2, dropout=0.5, device=device)
    assert not np.array_equal(logits_of(model)[0], logits_of(model)[0])
    model.eval()
    np.testing.assert_array_equal(logits_of(model)[0], logits_of(model)[0])


def test_dropout_where_it_belongs():
    """Zaremba et al. 2014: on the embedding, between layers and on the output."""
    model = LanguageModel(10, 400, num_layers=2, dropout=0.25)
    seen = {}
    for name in ("seq_model", "linear"):
        layer = getattr(model, name)
        forward = layer.forward

        def spy(x, *rest, name=name, forward=forward):
            seen[name] = x.numpy()
            return forward(x, *rest)

        layer.forward = spy
    logits_of(model)
    for values in seen.values():
        assert 0.2 < np.mean(values == 0) < 0.3
    assert model.seq_model.dropout.p == 0.25


# Mistakes


@pytest.mark.parametrize(
    "options, text",
    [
        ({"tie_weights": True, "embedding_size": 3}, "embedding_size of 3 and hidden_size of 6.*with tie_weights"),
        ({"seq_model": "transformer", "embedding_size": 3}, "embedding_size of 3 and hidden_size of 6.*a transformer"),
        ({"seq_model": "gru"}, "seq_model 'gru': expected one of lstm, rnn, transformer"),
        ({"dropout": 1.0}, "probability of 1.0"),
        ({"num_layers": 0}, "num_layers of 0"),
    ],
)
def test_arguments_that_do_not_fit(options, text):
    with pytest.raises(ValueError, match=text):
        LanguageModel(10, 6, **options)


def test_ids_outside_the_vocabulary(device):
    model = LanguageModel(10, 6, device=device)
    with pytest.raises(ShapeError, match="index 10.*expected 0 to 9"):
        logits_of(model, np.array([[3, 10]]))
    with pytest.raises(ShapeError, match=r"ids of shape \(3,\): expected \(T, B\)"):
        logits_of(model, IDS[:, 0])


def test_initial_states_of_the_wrong_shape():
    h = ndl.init.zeros(1, 3, 6)
    with pytest.raises(ShapeError, match=r"h0 of shape \(1, 3, 6\): expected \(1, 2, 6\)"):
        logits_of(LanguageModel(10, 6), h=(h, h))
    with pytest.raises(ShapeError, match=r"h0 of shape \(1, 3, 6\): expected \(1, 2, 6\)"):
        logits_of(LanguageModel(10, 6, seq_model="rnn"), h=h)
