"""Epochs of a language model: their figures, the state that is carried, and the gradient that is not."""

import math

import numpy as np
import pytest

from experiments.metrics import NonFiniteLoss
from experiments.models.language_model import LanguageModel
from experiments.ptb_lstm import evaluate_ptb, number_of_pieces, train_ptb
from needle import nn, optim
from needle.autograd import Tensor
from needle.data import batchify
from needle.errors import DTypeError, ShapeError

WORDS = 7


@pytest.fixture
def data():
    """Three texts side by side, (20, 3)."""
    return batchify(np.random.randint(0, WORDS, 60), 3)


@pytest.fixture
def model(device):
    return LanguageModel(WORDS, 6, num_layers=2, device=device)


def losses_of(logits, labels):
    """Cross-entropies (N,) in float64."""
    logits = logits.astype("float64")
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]


def test_evaluate_gives_the_perplexity_of_the_whole_text_and_changes_nothing(model, data, device):
    """Carried states make pieces of 8, 8 and 3 steps as good as one."""
    before = model.state_dict()
    perplexity, loss = evaluate_ptb(model, data, seq_len=8)
    logits, _ = model.eval()(Tensor(data[:-1], device=device))
    assert loss == pytest.approx(losses_of(logits.numpy(), data[1:].reshape(-1)).mean(), rel=1e-5)
    assert perplexity == math.exp(loss)
    assert all(np.array_equal(before[name], values) for name, values in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("sum_over_steps", [False, True])
def test_training_is_truncated_backpropagation_with_the_state_carried(data, device, sum_over_steps):
    model, twin = (LanguageModel(WORDS, 6, num_layers=2, device=device) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    options = {"seq_len": 8, "clip_norm": 0.3, "sum_over_steps": sum_over_steps}
    perplexity, loss = train_ptb(model, data, optimizer=optim.SGD(model.parameters(), lr=0.5), **options)

    optimizer, h, losses, norms = optim.SGD(twin.parameters(), lr=0.5), None, [], []
    for start, steps in ((0, 8), (8, 8), (16, 3)):
        x = Tensor(data[start : start + steps], device=device)
        y = data[start + 1 : start + steps + 1].reshape(-1)
        logits, h = twin(x, h)
        h = tuple(state.detach() for state in h)
        losses += list(losses_of(logits.numpy(), y))
        optimizer.reset_grad()
        mean = nn.SoftmaxLoss()(logits, Tensor(y, device=device))
        (mean * steps if sum_over_steps else mean).backward()
        norms.append(optimizer.clip_grad_norm(0.3))
        optimizer.step()
    assert loss == pytest.approx(np.mean(losses), rel=1e-5) and perplexity == math.exp(loss)
    assert max(norms) > 0.3
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, twin.state_dict()[name])


def test_the_two_objectives_make_the_same_steps_where_rate_and_limit_are_scaled(data):
    """lr=1 and clip 5 of the sum over 20 steps (Zaremba et al. 2014) are lr=20 and clip 0.25 of the mean."""
    model, twin = (LanguageModel(WORDS, 6) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    data = np.tile(data, (3, 1))[:41]  # two pieces of 20
    train_ptb(model, data, seq_len=20)
    options = {"optimizer": optim.SGD(twin.parameters(), lr=1.0), "clip_norm": 5.0, "sum_over_steps": True}
    train_ptb(twin, data, seq_len=20, **options)
    for name, values in model.state_dict().items():
        np.testing.assert_allclose(values, twin.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_no_step_is_longer_than_rate_times_limit(data):
    model = LanguageModel(WORDS, 6)
    before = model.state_dict()
    train_ptb(model, data[:9], seq_len=8, clip_norm=0.01)  # one step of the default SGD with lr=20
    changes = [np.sum((values - before[name]) ** 2.0) for name, values in model.state_dict().items()]
    assert math.sqrt(sum(changes)) == pytest.approx(20 * 0.01, rel=1e-3)
    train_ptb(model, data, clip_norm=None, optimizer=optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize("seq_model", ["lstm", "rnn", "transformer"])
def test_training_learns(device, seq_model):
    """A text that counts: each word is followed by the next one."""
    data = batchify(np.arange(400) % WORDS, 4)
    model = LanguageModel(WORDS, 16, seq_model=seq_model, device=device)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    perplexities = [train_ptb(model, data, seq_len=10, optimizer=optimizer)[0] for _ in range(8)]
    assert perplexities[-1] < perplexities[0]
    assert evaluate_ptb(model, data, seq_len=10)[0] < 1.2


def test_evaluation_and_training_put_the_model_into_their_mode(model, data):
    evaluate_ptb(model, data)
    assert not model.dropout.training and not model.seq_model.dropout.training
    train_ptb(model, data)
    assert model.dropout.training and model.seq_model.dropout.training


@pytest.mark.parametrize("rows, expected", [(2, 1), (9, 1), (10, 2), (17, 2), (18, 3)])
def test_number_of_pieces(rows, expected):
    assert number_of_pieces(np.zeros((rows, 3), int), 8) == expected


def test_a_loss_that_is_not_finite_stops_the_epoch(data, device):
    model = LanguageModel(WORDS, 6, device=device)
    vectors = model.embedding.weight.numpy()
    vectors[6] = np.nan
    model.embedding.weight.data = Tensor(vectors, device=device)
    data = data % 6
    data[10, 1] = 6  # read in the sixth piece of two steps
    with pytest.raises(NonFiniteLoss, match="the loss is nan at step 106"):
        train_ptb(model, data, seq_len=2, steps_before=100)
    perplexity, loss = train_ptb(model, data, seq_len=2, allow_nan=True)
    assert math.isnan(perplexity) and math.isnan(loss)


@pytest.mark.parametrize(
    "change, options, text",
    [
        (lambda data: data.reshape(-1), {}, r"train_ptb: data of shape \(60,\): expected \(nbatch, B\)"),
        (lambda data: data[:1], {}, r"data of shape \(1, 3\).*nbatch of 2 or more"),
        (lambda data: data + 1, {}, "the word id 7: expected 0 to 6"),
        (lambda data: data - 1, {}, "the word id -1: expected 0 to 6"),
        (lambda data: data, {"seq_len": 0}, "seq_len of 0: expected 1 or more"),
    ],
)
def test_data_that_do_not_fit(data, change, options, text):
    model = LanguageModel(WORDS, 6)
    before = model.state_dict()
    with pytest.raises(ShapeError, match=text):
        train_ptb(model, change(data), **options)
    assert all(np.array_equal(before[name], values) for name, values in model.state_dict().items())


def test_data_that_are_no_whole_numbers(model, data):
    with pytest.raises(DTypeError, match="train_ptb: data of dtype float64: expected whole numbers, the ids of words"):
        train_ptb(model, data + 0.5)
