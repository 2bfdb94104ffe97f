"""--jit: the steps of the training programs replayed as programs, with the bits that they have without."""

import numpy as np
import pytest

import needle as ndl
from experiments import cifar_resnet9, ptb_lstm
from experiments.models.language_model import SEQUENCE_MODELS, LanguageModel
from needle import Tensor, nn, optim
from needle.data import DataLoader, NDArrayDataset, batchify
from tests.experiments.program import Program, metrics, weights, without_times
from tests.experiments.texts import write_text

CIFAR = ["--batch_size=8", "--limit_batches=4"]
TEXT = ["--data_dir=data", "--hidden_size=8", "--batch_size=4", "--seq_len=6", "--lr=0.1"]
RUNS = {
    "cifar": ("cifar_resnet9", [*CIFAR, "--augment"]),
    **{name: ("ptb_lstm", [*TEXT, f"--seq_model={name}", "--dropout=0.3"]) for name in SEQUENCE_MODELS},
    "tied": ("ptb_lstm", [*TEXT, "--tie_weights", "--decay_after=1"]),
}


@pytest.fixture(autouse=True)
def text(tmp_path):
    write_text(tmp_path / "data")


@pytest.fixture
def jitted(monkeypatch):
    """The functions that a program has given to ndl.jit."""
    made, jit = [], ndl.jit
    monkeypatch.setattr(ndl, "jit", lambda function: made.append(jit(function)) or made[-1])
    return made


def run(name, tmp_path, folder, *flags):
    """The bits of the checkpoint, and the metrics but for times."""
    Program(name).result(tmp_path, *flags, f"--out={folder}")
    return weights(tmp_path / folder), without_times(metrics(tmp_path / folder))


@pytest.mark.parametrize("name, flags", RUNS.values(), ids=RUNS)
def test_the_same_bits_with_and_without_and_with_a_resume_from_one_to_the_other(tmp_path, jitted, name, flags):
    expected = run(name, tmp_path, "without", *flags, "--nojit", "--epochs=2")
    assert jitted == []
    assert run(name, tmp_path, "with", *flags, "--epochs=2") == expected  # the default
    assert len(jitted) == 2 and all(function.stats["replays"] for function in jitted)
    for first, second in (("--jit", "--nojit"), ("--nojit", "--jit")):
        run(name, tmp_path, f"parts{first}", *flags, first, "--epochs=1")
        bits, rows = run(name, tmp_path, f"parts{first}", second, "--epochs=2", "--resume")
        if name == "ptb_lstm":  # the run of one epoch ended with a test
            rows = [row for row in rows if (row["epoch"], row["split"]) != (1, "test")]
        assert (bits, rows) == expected


@pytest.mark.parametrize("flags", [["--schedule=cosine"], ["--schedule=onecycle", "--optimizer=sgd"]])
def test_schedules(tmp_path, flags):
    flags = [*CIFAR, *flags, "--epochs=2"]
    expected = run("cifar_resnet9", tmp_path, "without", *flags, "--nojit")
    assert run("cifar_resnet9", tmp_path, "with", *flags, "--jit") == expected


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name, flags", [("cifar_resnet9", CIFAR), ("ptb_lstm", TEXT)], ids=["cifar", "ptb"])
def test_mixed_precision(tmp_path, jitted, name, flags, precision):
    flags = [*flags, f"--amp={precision}", "--epochs=1"]
    expected = run(name, tmp_path, "without", *flags, "--nojit")
    assert run(name, tmp_path, "with", *flags, "--jit") == expected
    assert all(function.stats["replays"] for function in jitted)


def test_a_loss_scale_that_changes():
    """It falls in the first steps, which are skipped because their gradients overflow, and grows after good ones."""
    x = np.random.randn(96, 4).astype("float32")
    batches = DataLoader(NDArrayDataset(x, x.argmax(1)), batch_size=16)

    def epochs(step):
        ndl.manual_seed(0)
        model = nn.Linear(4, 4)
        scaler, scales = ndl.amp.GradScaler(init_scale=2.0**40, growth_interval=6), []
        optimizer = optim.Adam(model.parameters(), lr=0.03)
        with ndl.autocast("float16"):
            for _ in range(6):
                cifar_resnet9.train_epoch(model, batches, optimizer, scaler=scaler, step=step)
                scales.append(scaler.get_scale())
        return scales, model.weight.numpy().tobytes()

    scales, weight = epochs(cifar_resnet9.train_step)
    assert scales[0] < 2.0**40 and any(after > before for before, after in zip(scales, scales[1:]))
    assert epochs(ndl.jit(cifar_resnet9.train_step)) == (scales, weight)


def test_epochs_of_images_record_each_size_of_batch_once(device):
    """Batches of 16, 16, 16 and 2: the first epoch records the large ones, the first two epochs the small one."""
    x = np.random.randn(50, 4).astype("float32")
    batches = DataLoader(NDArrayDataset(x, x.argmax(1)), batch_size=16, device=device)

    def epochs(train_step, evaluation_step):
        ndl.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8, device=device), nn.BatchNorm1d(8, device=device), nn.Dropout(0.5),
                              nn.ReLU(), nn.Linear(8, 4, device=device))  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=0.03)
        figures, programs = [], []
        for _ in range(4):
            figures.append(cifar_resnet9.train_epoch(model, batches, optimizer, step=train_step))
            figures.append(cifar_resnet9.evaluate(model, batches, step=evaluation_step))
            programs.append([len(getattr(step, "programs", list)()) for step in (train_step, evaluation_step)])
        return figures, {name: array.tobytes() for name, array in model.state_dict().items()}, programs

    steps = cifar_resnet9.train_step, cifar_resnet9.evaluation_step
    *expected, _ = epochs(*steps)
    *got, programs = epochs(*map(ndl.jit, steps))
    assert got == expected
    assert programs == [[1, 1], [2, 2], [2, 2], [2, 2]]


def test_epochs_of_text_record_each_kind_of_piece_once(device):
    """Pieces of 4, 4, 4, 4 and 3 steps, of which the first one has no state before it."""
    data = batchify(np.random.randint(0, 7, 60), 3)

    def epochs(train_step, evaluation_step):
        ndl.manual_seed(0)
        model = LanguageModel(7, 6, num_layers=2, dropout=0.2, device=device)
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        figures, programs = [], []
        for _ in range(4):
            figures.append(ptb_lstm.train_ptb(model, data, seq_len=4, optimizer=optimizer, step=train_step))
            figures.append(ptb_lstm.evaluate_ptb(model, data, seq_len=4, step=evaluation_step))
            programs.append([len(getattr(step, "programs", list)()) for step in (train_step, evaluation_step)])
        return figures, {name: array.tobytes() for name, array in model.state_dict().items()}, programs

    steps = ptb_lstm.train_step, ptb_lstm.evaluation_step
    *expected, _ = epochs(*steps)
    *got, programs = epochs(*map(ndl.jit, steps))
    assert got == expected
    assert programs == [[1, 1], [3, 3], [3, 3], [3, 3]]


def test_the_state_of_a_text_has_no_graph():
    """So that no gradient flows back into the piece before, and its memory is free."""
    model = LanguageModel(7, 6)
    step = ndl.jit(ptb_lstm.train_step)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    words, state = Tensor(np.ones((4, 3), "int64"), requires_grad=False), None
    for _ in range(5):
        losses, state = step(model, optimizer, ptb_lstm.NO_SCALER, 0.25, False, words, words.reshape((-1,)), state)
        assert not any(tensor.requires_grad for tensor in (losses, *state))
