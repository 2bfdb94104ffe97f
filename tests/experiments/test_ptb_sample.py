"""ptb_sample from its command line: the text it prints, and what a mistake looks like."""

import shutil

import numpy as np
import pytest

from experiments.models.language_model import LanguageModel
from needle.autograd import Tensor, no_grad
from needle.checkpoint import load_state, save_state
from tests.experiments.program import Program
from tests.experiments.texts import is_sentence, write_text

PROGRAM = Program("ptb_sample")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the runs `lstm` and `transformer` of small models that have learned the text's grammar."""
    home = tmp_path_factory.mktemp("runs")
    write_text(home / "data", sentences=1000)
    flags = ["--data_dir=data", "--hidden_size=32", "--num_layers=1", "--lr=0.5", "--epochs=12", "--decay_after=8"]
    for seq_model in ("lstm", "transformer"):
        Program("ptb_lstm").result(home, *flags, f"--seq_model={seq_model}", f"--out={seq_model}")
    shutil.rmtree(home / "data")
    return home


def test_the_text_goes_on_by_the_grammar(runs):
    flags = ["--checkpoint=lstm", "--prompt=my horse", "--words=110", "--temperature=0.5"]
    finished = PROGRAM.run_in_own_process(runs, *flags)
    assert finished.returncode == 0, finished.stderr
    text = finished.stdout
    assert text.startswith("my horse") and "<eos>" not in text
    *lines, _ = text.removesuffix("\n").split("\n")  # the last sentence may be cut off
    assert sum(map(is_sentence, lines)) >= 0.9 * len(lines) > 10


def test_a_sentences_end_counts_as_a_word(runs):
    text = PROGRAM.output(runs, "--checkpoint=lstm", "--prompt=birds eats", "--words=1", "--temperature=0")
    assert len(text.split()) == 3
    text = PROGRAM.output(runs, "--checkpoint=lstm", "--prompt=birds eats birds", "--words=2", "--temperature=0")
    assert text.startswith("birds eats birds\n") and len(text.split()) == 4


def test_the_seed_decides_the_text(runs):
    def sample(*flags):
        return PROGRAM.output(runs, "--checkpoint=lstm/checkpoint.safetensors", "--temperature=2", *flags)

    assert sample() == sample("--seed=0", "--prompt=") != sample("--seed=1")


@pytest.mark.parametrize("seq_model, window", [("lstm", None), ("transformer", 20)])
def test_greedy_words_are_the_likeliest_after_the_words_so_far(runs, seq_model, window):
    """The LSTM, a word at a time from the carried state, as for all words at once; the Transformer for the last 20."""
    flags = ["--prompt=a dog", "--words=30", "--temperature=0", "--seed=5"]
    text = PROGRAM.output(runs, f"--checkpoint={seq_model}", *flags)
    state = load_state(runs / seq_model / "checkpoint.safetensors")
    vocabulary = state["config"]["vocabulary"]
    model = LanguageModel(**state["config"]["model"]).eval()
    model.load_state_dict(state["model"])
    words = ["<eos>", "a", "dog"]
    with no_grad():
        for _ in range(30):
            ids = np.array([[vocabulary.index(word)] for word in (words[-window:] if window else words)])
            words.append(vocabulary[int(model(Tensor(ids))[0].numpy()[-1].argmax())])
    assert text.split() == [word for word in words if word != "<eos>"]


def test_unknown_words_are_never_drawn(runs, tmp_path):
    state = load_state(runs / "lstm" / "checkpoint.safetensors")
    vocabulary = ["<unk>" if word == "sees" else word for word in state["config"]["vocabulary"]]
    save_state(tmp_path / "checkpoint.safetensors", state | {"config": {**state["config"], "vocabulary": vocabulary}})
    text = PROGRAM.output(tmp_path, "--checkpoint=.", "--words=200", "--prompt=my horse <unk>", "--temperature=1")
    assert text.startswith("my horse <unk>") and text.count("<unk>") == 1


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--temperature=-1"], "temperature=-1"),
        (["--temperature=nan"], "temperature=nan"),
        (["--temperature=inf"], "temperature=inf"),
        (["--words=0"], "words"),
        (["--words=some"], "some"),
        (["--seed=-1"], "seed"),
        (["my", "horse"], "my"),
    ],
)
def test_wrong_flags(tmp_path, flags, text):
    assert text in PROGRAM.error(tmp_path, *flags, status=2)


def test_a_word_that_the_model_does_not_know(runs):
    line = PROGRAM.error(runs, "--checkpoint=lstm", "--prompt=the cow sees", status=1)
    assert "--prompt: 'cow' is not among the 11 words of" in line


def test_checkpoints_that_cannot_be_used(runs, tmp_path):
    def error():
        return PROGRAM.error(tmp_path, "--checkpoint=other.safetensors", status=1)

    assert "needle-runs/ptb_lstm" in PROGRAM.error(tmp_path, status=1)  # where ptb_lstm puts it by default
    whole = (runs / "lstm" / "checkpoint.safetensors").read_bytes()
    path = tmp_path / "other.safetensors"
    path.write_bytes(whole[:-10])
    assert f"{path}: truncated" in error()
    path.write_bytes(b"text")
    assert str(path) in error()
    path.write_bytes(whole)
    state = load_state(path)
    config, model = state["config"], state["model"]
    for change, said in (
        ({"config": {**config, "program": "cifar_resnet9"}}, "not of a run of ptb_lstm"),
        ({"config": {**config, "model": {**config["model"], "hidden_size": 16}}}, "of another kind of run: "),
        ({"config": {**config, "model": {**config["model"], "seq_model": "rnn"}}}, "of another kind of run: "),
        ({"config": {**config, "model": None}}, "of another kind of run: "),
        ({"config": {**config, "vocabulary": ["a", "b"]}}, "of another kind of run: 2 words for a model of 11"),
        ({"model": {**model, "linear.bias": model["linear.bias"] * np.nan}}, "logits that are not finite"),
    ):
        save_state(path, state | change)
        line = error()
        assert str(path) in line and said in line
