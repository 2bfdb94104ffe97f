"""Prints text written by a language model that ptb_lstm has trained.

    bazel run //experiments:ptb_sample -- --checkpoint=DIR --prompt="the company said" --words=40 --temperature=0.8

Each word is drawn from the model's probabilities given the words so far. No data set is needed: the vocabulary is in
the checkpoint.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.command_line import FLAGS, chosen_device, define_common_flags, run_program
from experiments.models.language_model import LanguageModel, State
from experiments.training_run import CHECKPOINT, load_checkpoint
from needle.autograd import Tensor, no_grad
from needle.backend_ndarray import Device
from needle.data.corpus import EOS
from needle.errors import CheckpointError, DataError

PROGRAM = "ptb_sample"
TRAINER = "ptb_lstm"
UNKNOWN = "<unk>"  # stands for all rare words of the Penn Treebank


def define_flags() -> None:
    define_common_flags()
    flags.DEFINE_string("checkpoint", f"needle-runs/{TRAINER}", "Checkpoint of ptb_lstm, or the folder that holds it.")
    flags.DEFINE_string("prompt", "", "The first words, separated by spaces; none for the beginning of a sentence.")
    flags.DEFINE_integer("words", 40, "How many words to add; a sentence's end counts as one.", lower_bound=1)
    flags.DEFINE_float("temperature", 0.8, "What logits are divided by: 0 for always the likeliest word, 1 as learned.")
    flags.register_validator(
        "temperature", lambda value: 0 <= value < math.inf, "expected a finite number of 0 or more"
    )


def main() -> str:
    device = chosen_device()
    path = Path(FLAGS.checkpoint)
    path = path / CHECKPOINT if path.is_dir() else path
    model, vocabulary, window = _load(path, device)
    word2idx = {word: number for number, word in enumerate(vocabulary)}
    prompt = FLAGS.prompt.split()
    for word in prompt:
        if word not in word2idx:
            raise DataError(f"--prompt: {word!r} is not among the {len(vocabulary):,} words of {path}")

    never = [word2idx[UNKNOWN]] if UNKNOWN in word2idx else []
    random = np.random.default_rng(FLAGS.seed)
    ids = [word2idx[word] for word in (EOS, *prompt)]  # a text begins after the end of a sentence
    state: State = None
    unread = ids
    with no_grad():
        for _ in range(FLAGS.words):
            unread = unread if window is None else ids[-window:]
            logits, state = model(Tensor(np.array(unread)[:, None], device=device), state)
            unread = [_draw(logits.numpy()[-1].astype("float64"), never, random, path)]
            ids += unread
    return _text([vocabulary[number] for number in ids[1:]])


def _load(path: Path, device: Device) -> tuple[LanguageModel, list[str], int | None]:
    """The model, its words, and the number of last words that it takes, or None if its state remembers them."""
    state = load_checkpoint(path, TRAINER)
    config: dict[str, Any] = state["config"]
    try:
        vocabulary = config["vocabulary"]
        model = LanguageModel(**config["model"], device=device)
        if len(vocabulary) != model.vocab_size or EOS not in vocabulary:
            raise ValueError(f"{len(vocabulary)} words for a model of {model.vocab_size}")
        model.load_state_dict(state["model"])
        window = config["flags"]["seq_len"] if config["model"]["seq_model"] == "transformer" else None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: of another kind of run: {error}") from None
    model.eval()
    return model, vocabulary, window


def _draw(logits: np.ndarray, never: list[int], random: np.random.Generator, path: Path) -> int:
    """A word by softmax(logits / temperature), logits float64 (vocabulary,); at temperature 0 the most likely one."""
    if not np.isfinite(logits).all():
        raise CheckpointError(f"{path}: its model gives logits that are not finite")
    logits[never] = -math.inf
    if FLAGS.temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a very low temperature turns all but the largest into -inf
        weights = np.exp((logits - logits.max()) / FLAGS.temperature)
    return int(random.choice(len(weights), p=weights / weights.sum()))


def _text(words: list[str]) -> str:
    """The words separated by spaces, with a line break at the end of each sentence."""
    return re.sub(" ?\n ?", "\n", " ".join("\n" if word == EOS else word for word in words)).strip()


if __name__ == "__main__":
    define_flags()
    run_program(PROGRAM, main)
