"""Trains a language model on the Penn Treebank: by default the small LSTM of Zaremba, Sutskever and Vinyals 2014.

    bazel run //experiments:ptb_lstm -- --data_dir=DIR --out=DIR

Shows a progress bar per epoch. After each epoch it writes a checkpoint, metrics.jsonl and curves.png to --out. The last
line on standard output is a JSON object with the final figures. ptb_sample generates text with the model.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from absl import flags

from experiments import command_line, training_program
from experiments.command_line import FLAGS, notice, user_path
from experiments.language_model_trainer import evaluate_ptb, number_of_pieces, train_ptb
from experiments.models.language_model import SEQUENCE_MODELS, TRANSFORMER_POSITIONS, LanguageModel
from experiments.run_folder import RunFolder
from experiments.training_run import Figures, TrainingRun
from needle import init, optim
from needle.backend_ndarray import random
from needle.data import batchify, load_ptb
from needle.errors import DataError

PROGRAM = "ptb_lstm"
SPLITS = ("train", "valid", "test")
LEARNING_RATES = {"lstm": 1.0, "rnn": 0.1, "transformer": 0.1}  # defaults of --lr: the others diverge with 1.0

command_line.define_run_flags(PROGRAM, epochs=13, batch_size=20, lr=None)
flags.DEFINE_enum("seq_model", "lstm", SEQUENCE_MODELS, "Sequence model.")
flags.DEFINE_integer("hidden_size", 200, "Width of the sequence model and of the embedding.", lower_bound=1)
flags.DEFINE_integer("num_layers", 2, "Layers of the sequence model.", lower_bound=1)
flags.DEFINE_bool("tie_weights", False, "Use the embedding's matrix in the output layer too.")
flags.DEFINE_float("dropout", 0.0, "Probability for the embedding, between layers, and for the last layer's output.")
flags.DEFINE_integer("seq_len", 20, "Time steps that a gradient goes back through.", lower_bound=1)
flags.DEFINE_float("lr_decay", 0.5, "Factor of the learning rate from one epoch to the next, after --decay_after.")
flags.DEFINE_integer("decay_after", 4, "Epochs with the full learning rate.", lower_bound=1)
flags.DEFINE_float("clip_norm", 5.0, "Largest norm of the gradient.")
flags.DEFINE_float("init_scale", 0.1, "Parameters start uniform on +- this; those within a transformer have their own.")
flags.register_validator("dropout", lambda value: 0 <= value < 1, "expected 0 or more, below 1")
flags.register_validator("lr_decay", lambda value: 0 < value <= 1, "expected a number above 0, up to 1")
for name in ("clip_norm", "init_scale"):
    flags.register_validator(name, lambda value: 0 < value < math.inf, "expected a finite number above 0")
flags.register_multi_flags_validator(
    ["seq_model", "seq_len"],
    lambda values: values["seq_model"] != "transformer" or values["seq_len"] <= TRANSFORMER_POSITIONS,
    f"--seq_len: expected at most {TRANSFORMER_POSITIONS} with --seq_model=transformer",
)

# The flags that define a run. A resumed run may change some of these: more epochs, or data that have moved.
CONFIG = (
    "amp", "batch_size", "clip_norm", "data_dir", "decay_after", "dropout", "epochs", "hidden_size", "init_scale",
    "limit_batches", "lr", "lr_decay", "num_layers", "seed", "seq_len", "seq_model", "tie_weights",
)  # fmt: skip
FREE_TO_CHANGE = {"data_dir", "epochs"}


def main() -> dict[str, Any]:
    with RunFolder(user_path(FLAGS.out)) as folder:
        return _train(folder)


def _train(folder: RunFolder) -> dict[str, Any]:
    device = command_line.chosen_device()
    state = training_program.state_to_resume(folder, PROGRAM, FREE_TO_CHANGE)
    precision, scaler = command_line.chosen_precision()
    if FLAGS.lr is None:
        FLAGS.lr = LEARNING_RATES[FLAGS.seq_model]

    random.manual_seed(FLAGS.seed)
    corpus, source = load_ptb(FLAGS.data_dir, notice=notice)
    texts = {split: getattr(corpus, split) for split in SPLITS}
    data = source.partition(" in ")[0]
    batches = {split: _batches(split, text) for split, text in texts.items()}
    # The checkpoint has everything about model and data that ptb_sample needs.
    config = {
        "program": PROGRAM,
        "data": data,
        "data_sha256": hashlib.sha256(b"".join(text.tobytes() for text in texts.values())).hexdigest(),
        "vocabulary": corpus.dictionary.idx2word,
        "model": {"vocab_size": len(corpus.dictionary)}
        | command_line.flag_values("hidden_size", "num_layers", "seq_model", "dropout", "tie_weights"),
        "flags": command_line.flag_values(*CONFIG),
    }
    model = LanguageModel(**config["model"], device=device)
    _initialize(model)
    optimizer = optim.SGD(model.parameters(), FLAGS.lr)
    # lr * lr_decay^max(0, epoch - decay_after), epochs counted from 1
    schedule = optim.MultiStepLR(optimizer, range(FLAGS.decay_after, FLAGS.epochs), FLAGS.lr_decay)
    parameters = sum(parameter.size for parameter in model.parameters())
    words = f"{len(texts['train']):,} words, {len(corpus.dictionary):,} different"
    notice(
        f"{FLAGS.seq_model} with {parameters:,} parameters on {FLAGS.device}; data: {source}, {words}; "
        f"results: {folder.folder}"
    )
    title = f"{FLAGS.seq_model} {FLAGS.num_layers} x {FLAGS.hidden_size} on {data}, {FLAGS.device}"
    run = TrainingRun(folder, model, optimizer, schedule, config, title, scaler)
    training_program.begin(run, state)

    def train(epoch: int) -> Figures:
        perplexity, loss = train_ptb(
            model,
            batches["train"],
            seq_len=FLAGS.seq_len,
            clip_norm=FLAGS.clip_norm,
            optimizer=optimizer,
            scaler=scaler,
            sum_over_steps=True,
            desc=f"Epoch {epoch}/{FLAGS.epochs} train",
            steps_before=(epoch - 1) * number_of_pieces(batches["train"], FLAGS.seq_len),
            allow_nan=FLAGS.allow_nan,
        )
        schedule.step()
        return {"loss": loss, "perplexity": perplexity, "samples": batches["train"][1:].size}

    def evaluation(split: str):
        def evaluate(epoch: int) -> Figures:
            desc = f"Epoch {epoch}/{FLAGS.epochs} {split}"
            perplexity, loss = evaluate_ptb(model, batches[split], seq_len=FLAGS.seq_len, desc=desc)
            return {"loss": loss, "perplexity": perplexity, "samples": batches[split][1:].size}

        return evaluate

    with precision:
        run.fit(FLAGS.epochs, train, {"valid": evaluation("valid")}, {"test": evaluation("test")}, FLAGS.allow_nan)
    return {
        "program": PROGRAM,
        "seq_model": FLAGS.seq_model,
        "parameters": parameters,
        "data": data,
        "device": FLAGS.device,
        "amp": FLAGS.amp,
        **training_program.final_figures(run, "perplexity", "words_per_second", best_of=(min, "valid")),
    }


def _batches(split: str, text: np.ndarray) -> np.ndarray:
    """The text as (nbatch, batch_size), cut after --limit_batches pieces."""
    try:
        batches = batchify(text, FLAGS.batch_size)
    except ValueError as error:
        raise DataError(f"--batch_size={FLAGS.batch_size}: the {split} split: {error}") from None
    return batches if FLAGS.limit_batches is None else batches[: FLAGS.limit_batches * FLAGS.seq_len + 1]


def _initialize(model: LanguageModel) -> None:
    """Sets parameters uniform on +-init_scale, except in transformer layers, whose normalizations must start near 1."""
    parts = [model]
    if FLAGS.seq_model == "transformer":
        parts = [model.embedding, model.seq_model.position_embedding, model.linear]
    for part in parts:
        for parameter in part.parameters():
            values = init.rand(*parameter.shape, low=-FLAGS.init_scale, high=FLAGS.init_scale)
            parameter.data = values.to(parameter.device)


if __name__ == "__main__":
    command_line.run_program(PROGRAM, main)
