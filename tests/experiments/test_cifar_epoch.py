"""Epochs of training and of evaluation: the figures they return, and what they do to the model."""

import math

import numpy as np
import pytest

from experiments.cifar_resnet9 import FirstBatches, evaluate, train_epoch
from experiments.metrics import NonFiniteLoss
from needle import nn, optim
from needle.autograd import Tensor
from needle.data import DataLoader, NDArrayDataset


@pytest.fixture
def examples():
    """50 points (50, 4) and their classes, which the point's largest coordinate is."""
    x = np.random.randn(50, 4).astype("float32")
    return x, x.argmax(1)


@pytest.fixture
def model(device):
    return nn.Sequential(nn.Linear(4, 8, device=device), nn.BatchNorm1d(8, device=device), nn.Dropout(0.5), nn.ReLU(),
                         nn.Linear(8, 4, device=device))  # fmt: skip


def batches_of(examples, device, size=16):
    return DataLoader(NDArrayDataset(*examples), batch_size=size, device=device)


def figures(logits, labels):
    """(accuracy, mean loss) in float64."""
    logits = logits.astype("float64")
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return np.mean(logits.argmax(1) == labels), losses.mean()


def test_evaluate_returns_accuracy_and_mean_loss_and_changes_nothing(model, examples, device):
    before = model.state_dict()
    accuracy, loss = evaluate(model, batches_of(examples, device))  # of 16, 16, 16 and 2
    x, labels = examples
    expected_accuracy, expected_loss = figures(model.eval()(Tensor(x, device=device)).numpy(), labels)
    assert accuracy == expected_accuracy
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert all(np.array_equal(before[name], values) for name, values in model.state_dict().items())


def test_train_epoch_returns_the_figures_of_the_models_on_its_way(examples, device):
    """Each batch counts with the loss and the accuracy that the model had before it learned from the batch."""
    x, labels = examples
    model = nn.Linear(4, 4, device=device)
    twin = nn.Linear(4, 4, device=device)
    twin.load_state_dict(model.state_dict())
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    accuracy, loss = train_epoch(model, batches_of(examples, device), optimizer)

    expected, twins_optimizer = [], optim.SGD(twin.parameters(), lr=0.5)
    for start in range(0, 50, 16):
        part = slice(start, start + 16)
        logits = twin(Tensor(x[part], device=device))
        expected.append([len(labels[part]) * figure for figure in figures(logits.numpy(), labels[part])])
        twins_optimizer.reset_grad()
        nn.SoftmaxLoss()(logits, Tensor(labels[part], device=device)).backward()
        twins_optimizer.step()
    expected_accuracy, expected_loss = np.sum(expected, 0) / 50
    assert accuracy == pytest.approx(expected_accuracy, rel=1e-12)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, twin.state_dict()[name])


def test_evaluation_and_training_put_the_model_into_their_mode(model, examples, device):
    evaluate(model, batches_of(examples, device))
    assert not any(module.training for module in model.modules)
    train_epoch(model, batches_of(examples, device))
    assert all(module.training for module in model.modules)


def test_training_learns(model, examples, device):
    optimizer = optim.Adam(model.parameters(), lr=0.03)
    for _ in range(40):
        train_epoch(model, batches_of(examples, device), optimizer)
    assert evaluate(model, batches_of(examples, device))[0] > 0.8


def test_without_an_optimizer_it_is_adam(examples, device):
    model = nn.Linear(4, 4, device=device)
    before = model.weight.numpy()
    train_epoch(model, FirstBatches(batches_of(examples, device), 1))
    change = np.abs(model.weight.numpy() - before)
    np.testing.assert_allclose(change, 1e-3, rtol=1e-2)  # Adam's first step is lr times the gradient's sign


def test_the_schedule_makes_a_step_per_batch(model, examples, device):
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = optim.StepLR(optimizer, step_size=1, gamma=0.5)
    train_epoch(model, batches_of(examples, device), optimizer, schedule=schedule)
    assert optimizer.lr == 0.5**4


def test_another_loss_function(examples, device):
    model = nn.Linear(4, 4, device=device)
    _, loss = evaluate(model, batches_of(examples, device), lambda logits, labels: logits.sum() * 0 + 7)
    assert loss == 7


def test_batches_go_to_the_models_device(examples, device):
    train_epoch(nn.Linear(4, 4, device=device), batches_of(examples, None))


@pytest.mark.parametrize("limit, expected", [(None, 4), (2, 2), (9, 4)])
def test_first_batches(examples, device, limit, expected):
    first = FirstBatches(batches_of(examples, device), limit)
    assert len(first) == len(list(first)) == len(list(first)) == expected


def test_a_loss_that_is_not_finite_stops_the_epoch(examples, device):
    x, labels = examples
    x[20] = np.nan  # in the second batch
    model = nn.Linear(4, 4, device=device)
    with pytest.raises(NonFiniteLoss, match="the loss is nan at step 102"):
        train_epoch(model, batches_of((x, labels), device), steps_before=100)
    _, loss = train_epoch(model, batches_of((x, labels), device), allow_nan=True)
    assert math.isnan(loss)
