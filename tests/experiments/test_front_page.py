"""The programs on the front page run as written, on whatever device there is."""

import re

import numpy as np
import pytest

import needle as ndl
from experiments.cifar_resnet9 import train_epoch
from experiments.models.language_model import LanguageModel
from experiments.models.resnet9 import ResNet9
from experiments.ptb_lstm import train_ptb
from needle import nn

DEVICE = ndl.gpu() if ndl.gpu().enabled() else ndl.cpu()


def test_a_matrix_product():
    x = ndl.Tensor([[1, 2], [3, 4]], device=DEVICE)
    y = x @ x.T
    np.testing.assert_array_equal(y.numpy(), [[5, 11], [11, 25]])


@pytest.mark.parametrize("threshold, branch", [(5, 3.0), (50, 1.0)])
def test_a_graph_that_depends_on_data(threshold, branch):
    class Model(nn.Module):
        def complex_branch(self, x):
            return x * 3.0

        def forward(self, x):
            if x.sum() > threshold:
                x = self.complex_branch(x)
            return x

    x = ndl.Tensor([4.0, 6.0], device=DEVICE)
    Model()(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [branch, branch])


def test_gradients_of_parameters():
    class Model(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(3, 2, device=DEVICE)

        def forward(self, x, y):
            return nn.SoftmaxLoss()(self.linear(x), y)

    model = Model()
    x, y = ndl.init.randn(4, 3, device=DEVICE), ndl.Tensor([0, 1, 1, 0], device=DEVICE)
    loss = model(x, y)
    loss.backward()
    assert model.parameters()[0].grad.shape == (3, 2)


def test_progress_bars_with_live_metrics(capsys):
    dataloader = [ndl.Tensor(float(i), device=DEVICE) for i in range(3)]
    losses = []

    def train_step(batch):
        loss = batch * 2
        ndl.progress.metrics(loss=loss, acc=0.5)
        return loss

    for epoch in ndl.trange(10, desc="Training"):
        for batch in ndl.tqdm(dataloader, unit="batch"):
            loss = train_step(batch)
            losses.append(loss.item())
    assert losses == [0.0, 2.0, 4.0] * 10
    *inner, outer = capsys.readouterr().err.splitlines()
    assert len(inner) == 10
    for line in inner:
        assert re.fullmatch(r"3/3 \[\d+:\d+, loss=4.000, acc=0.500, +[\d.]+batch/s\]", line)
    assert outer.startswith("Training: 10/10 [")


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A little CIFAR-10 in ./data, as published: pickles of NumPy arrays."""
    import pickle

    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    synthetic = ndl.data.SyntheticCIFAR10(600)
    images = np.stack([np.asarray(synthetic[i][0]) for i in range(600)])
    labels = [int(synthetic[i][1]) for i in range(600)]
    pixels = (images * 255).round().astype(np.uint8).reshape(600, 3072)
    for i in range(5):
        part = slice(100 * i, 100 * (i + 1))
        content = {b"data": np.tile(pixels[part], (100, 1)), b"labels": labels[part] * 100}
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps(content, protocol=2))
    (folder / "test_batch").write_bytes(
        pickle.dumps({b"data": np.tile(pixels[500:], (100, 1)), b"labels": labels[500:] * 100}, protocol=2)
    )
    monkeypatch.chdir(tmp_path)


def test_resnet9_on_cifar10(cifar10):
    from needle.data import CIFAR10Dataset, DataLoader

    model = ResNet9(num_classes=10, device=DEVICE)
    dataset = CIFAR10Dataset("./data", train=True, transforms=[
        ndl.data.RandomFlipHorizontal(), ndl.data.RandomCrop(padding=4)])  # fmt: skip
    dataloader = DataLoader(dataset, batch_size=128, shuffle=True)
    assert len(dataset) == 50000
    accuracy, loss = train_epoch(model, [batch for batch, _ in zip(dataloader, range(10))])
    assert 0 <= accuracy <= 1 and 0 < loss < 5


@pytest.fixture
def ptb(tmp_path, monkeypatch):
    """A little Penn Treebank in ./data."""
    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text(" the company said it will buy N <unk> shares \n" * 50)
    monkeypatch.chdir(tmp_path)


def test_a_language_model_on_the_penn_treebank(ptb):
    corpus = ndl.data.Corpus("./data/ptb")
    train_data = ndl.data.batchify(corpus.train, batch_size=20)
    model = LanguageModel(vocab_size=10000, hidden_size=512, num_layers=2, device=DEVICE)
    perplexity, loss = train_ptb(model, train_data, clip_norm=0.25)
    assert perplexity == pytest.approx(np.exp(loss)) and 0 < loss < 12
