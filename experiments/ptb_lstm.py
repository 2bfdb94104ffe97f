"""Trains a language model on the Penn Treebank: by default the small LSTM of Zaremba, Sutskever and Vinyals 2014.

    bazel run //experiments:ptb_lstm -- --data_dir=DIR --out=DIR

Shows a progress bar per epoch. After each epoch it writes a checkpoint, metrics.jsonl and curves.png to --out. The last
line on standard output is a JSON object with the final figures. ptb_sample generates text with the model.

The text is cut into B parallel texts, which are read in pieces of `seq_len` words: truncated backpropagation through
time. The model's state is carried over from one piece to the next, but no gradient flows between pieces.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

import needle as ndl
from experiments.command_line import (
    FLAGS,
    chosen_device,
    chosen_precision,
    define_training_flags,
    notice,
    run_flags,
    run_program,
)
from experiments.metrics import Perplexity, RunningMean
from experiments.models.language_model import SEQUENCE_MODELS, TRANSFORMER_POSITIONS, LanguageModel, State
from experiments.training_run import RunFolder, TrainingRun, checkpoint_to_resume
from needle import Tensor, nn, optim
from needle.amp import GradScaler
from needle.data import batchify, get_batch, load_ptb
from needle.errors import DataError, DTypeError, ShapeError

PROGRAM = "ptb_lstm"
LEARNING_RATES = {"lstm": 1.0, "rnn": 0.1, "transformer": 0.1}  # defaults of --lr: the others diverge with 1.0
# Without state, and one for all epochs: for a jitted step a new object is another kind of call.
NO_SCALER = GradScaler(enabled=False)


def define_flags() -> None:
    define_training_flags(PROGRAM, epochs=13, batch_size=20, lr=None)
    flags.DEFINE_enum("seq_model", "lstm", SEQUENCE_MODELS, "Sequence model.")
    flags.DEFINE_integer("hidden_size", 200, "Width of the sequence model and of the embedding.", lower_bound=1)
    flags.DEFINE_integer("num_layers", 2, "Layers of the sequence model.", lower_bound=1)
    flags.DEFINE_bool("tie_weights", False, "Use the embedding's matrix in the output layer too.")
    flags.DEFINE_float(
        "dropout", 0.0, "Probability for the embedding, between layers, and for the last layer's output."
    )
    flags.DEFINE_integer("seq_len", 20, "Time steps that a gradient goes back through.", lower_bound=1)
    flags.DEFINE_float("lr_decay", 0.5, "Factor of the learning rate from one epoch to the next, after --decay_after.")
    flags.DEFINE_integer("decay_after", 4, "Epochs with the full learning rate.", lower_bound=1)
    flags.DEFINE_float("clip_norm", 5.0, "Largest norm of the gradient.")
    flags.DEFINE_float(
        "init_scale", 0.1, "Parameters start uniform on +- this; those within a transformer have their own."
    )
    flags.register_validator("dropout", lambda value: 0 <= value < 1, "expected 0 or more, below 1")
    flags.register_validator("lr_decay", lambda value: 0 < value <= 1, "expected a number above 0, up to 1")
    for name in ("clip_norm", "init_scale"):
        flags.register_validator(name, lambda value: 0 < value < math.inf, "expected a finite number above 0")
    flags.register_multi_flags_validator(
        ["seq_model", "seq_len"],
        lambda values: values["seq_model"] != "transformer" or values["seq_len"] <= TRANSFORMER_POSITIONS,
        f"--seq_len: expected at most {TRANSFORMER_POSITIONS} with --seq_model=transformer",
    )


def main() -> dict[str, Any]:
    """Trains as the flags say; returns the final figures."""
    with RunFolder(FLAGS.out) as folder:
        device = chosen_device()
        # None without --resume. With it, flags that are not given become those of the run that the checkpoint is of.
        checkpoint = checkpoint_to_resume(folder, PROGRAM)
        if FLAGS.lr is None:
            FLAGS.lr = LEARNING_RATES[FLAGS.seq_model]

        ndl.manual_seed(FLAGS.seed)
        corpus, source = load_ptb(FLAGS.data_dir, notice=notice)
        data = source.partition(" in ")[0]
        texts = {split: getattr(corpus, split) for split in ("train", "valid", "test")}
        batches = {split: parallel_texts(split, text) for split, text in texts.items()}
        # The checkpoint has everything about model and data that ptb_sample needs.
        options = ("hidden_size", "num_layers", "seq_model", "dropout", "tie_weights")
        config = {
            "program": PROGRAM,
            "data": data,
            "data_sha256": hashlib.sha256(b"".join(text.tobytes() for text in texts.values())).hexdigest(),
            "vocabulary": corpus.dictionary.idx2word,
            "model": {"vocab_size": len(corpus.dictionary)} | {name: FLAGS[name].value for name in options},
            "flags": run_flags(),
        }
        model = LanguageModel(**config["model"], device=device)
        initialize(model)
        parameters = sum(parameter.size for parameter in model.parameters())
        optimizer = optim.SGD(model.parameters(), FLAGS.lr)
        # lr * lr_decay^max(0, epoch - decay_after), epochs counted from 1
        schedule = optim.MultiStepLR(optimizer, range(FLAGS.decay_after, FLAGS.epochs), FLAGS.lr_decay)
        # Mixed precision: within `precision`, operations cast their inputs. Only float16 needs a scaled loss.
        precision, scaler = chosen_precision()
        # With --jit, each kind of piece is recorded twice, then replayed as one program; one function for all epochs.
        steps = train_step, evaluation_step
        step_of_training, step_of_evaluation = map(ndl.jit, steps) if FLAGS.jit else steps

        words = f"{len(corpus.train):,} words, {len(corpus.dictionary):,} different"
        notice(
            f"{FLAGS.seq_model} with {parameters:,} parameters on {FLAGS.device}; data: {source}, {words}; "
            f"results: {folder.path}"
        )
        title = f"{FLAGS.seq_model} {FLAGS.num_layers} x {FLAGS.hidden_size} on {data}, {FLAGS.device}"
        run = TrainingRun(folder, (model, optimizer, schedule, scaler), config, title, FLAGS.allow_nan)
        run.begin(checkpoint)  # saves the state before training, or restores the one after the last epoch saved

        # Ctrl-C, or a loss that is not finite, ends the run with a line that says which state the checkpoint has.
        with run, precision:
            for epoch in range(run.epoch + 1, FLAGS.epochs + 1):
                perplexity, loss = train_ptb(
                    model,
                    batches["train"],
                    seq_len=FLAGS.seq_len,
                    clip_norm=FLAGS.clip_norm,
                    optimizer=optimizer,
                    scaler=scaler,
                    sum_over_steps=True,
                    step=step_of_training,
                    desc=f"Epoch {epoch}/{FLAGS.epochs} train",
                    steps_before=(epoch - 1) * number_of_pieces(batches["train"], FLAGS.seq_len),
                    allow_nan=FLAGS.allow_nan,
                )
                schedule.step()
                run.record(epoch, "train", loss=loss, perplexity=perplexity, samples=batches["train"][1:].size)
                desc = f"Epoch {epoch}/{FLAGS.epochs} valid"
                perplexity, loss = evaluate_ptb(
                    model, batches["valid"], seq_len=FLAGS.seq_len, step=step_of_evaluation, desc=desc
                )
                run.record(epoch, "valid", loss=loss, perplexity=perplexity, samples=batches["valid"][1:].size)
                run.save(epoch)  # the checkpoint; the rows recorded so far, as metrics.jsonl and curves.png
            if not run.is_recorded("test"):  # once, after the last epoch
                desc = f"Epoch {run.epoch}/{FLAGS.epochs} test"
                perplexity, loss = evaluate_ptb(
                    model, batches["test"], seq_len=FLAGS.seq_len, step=step_of_evaluation, desc=desc
                )
                run.record(run.epoch, "test", loss=loss, perplexity=perplexity, samples=batches["test"][1:].size)
                run.save(run.epoch)

        return {
            "program": PROGRAM,
            "seq_model": FLAGS.seq_model,
            "parameters": parameters,
            "data": data,
            "device": FLAGS.device,
            "amp": FLAGS.amp,
            **run.final_figures("perplexity", best_of="valid", speed="words_per_second"),
        }


def train_ptb(
    model: LanguageModel,
    train_data: np.ndarray,
    *,
    seq_len: int = 35,
    clip_norm: float | None = 0.25,
    optimizer: optim.Optimizer | None = None,
    scaler: GradScaler | None = None,
    sum_over_steps: bool = False,
    step: Callable[..., tuple[Tensor, State]] | None = None,
    desc: str = "train",
    steps_before: int = 0,
    allow_nan: bool = False,
) -> tuple[float, float]:
    """Trains once on all of `train_data` (nbatch, B); returns the perplexity and the mean loss during training.

    The loss is the mean cross-entropy of the words, in nats, and the perplexity its exponential. The gradient is that
    of the mean over the T * B words of a piece or, with `sum_over_steps`, of T times that: the sum over the T steps of
    the mean over the B texts, as in Zaremba, Sutskever and Vinyals 2014. Learning rate and `clip_norm`, the largest
    norm of the gradient, are meaningful only together with this choice. The default optimizer is a new SGD with lr=20,
    which suits the default `clip_norm`: no step is longer than 5. (With seq_len=20 these are the steps of Zaremba et
    al., who sum over the 20 steps, clip to 5 and begin with lr=1.)

    The scaler is for training within autocast("float16"). `step` is `train_step`, the default, or ndl.jit(train_step).
    `desc` is the text before the progress bar. Raises ShapeError, before training, for data of another shape or with
    ids outside the vocabulary. Raises NonFiniteLoss, unless `allow_nan`, soon after a loss that is not finite; the step
    that it names counts from 1 after `steps_before`.
    """
    check_data("train_ptb", model, train_data, seq_len)
    optimizer = optimizer or optim.SGD(model.parameters(), lr=20.0)
    scaler = scaler or NO_SCALER
    step = step or train_step
    device = model.parameters()[0].device
    mean_loss = RunningMean()  # read now and then, so that no step waits for the device
    perplexity = Perplexity(mean_loss)
    state: State = None
    model.train()
    with ndl.tqdm(range(0, len(train_data) - 1, seq_len), desc=desc, unit="batch") as bar:
        bar.metrics(loss=mean_loss, ppl=perplexity)
        for start in bar:
            x, y = get_batch(train_data, start, seq_len, device=device)
            losses, state = step(model, optimizer, scaler, clip_norm, sum_over_steps, x, y, state)
            mean_loss.add(losses, len(y))
            if not allow_nan:
                mean_loss.check_finite(steps_before)
    figures = float(perplexity), float(mean_loss)  # reads the last losses
    if not allow_nan:
        mean_loss.check_finite(steps_before)
    return figures


def train_step(
    model: LanguageModel,
    optimizer: optim.Optimizer,
    scaler: GradScaler,
    clip_norm: float | None,
    sum_over_steps: bool,
    x: Tensor,
    y: Tensor,
    state: State,
) -> tuple[Tensor, State]:
    """Trains on one piece, ids x (T, B), with the words after them, y (T*B,), from the state after the piece before.

    Returns the sum of the losses before the step, and the state after the piece, through which no gradient flows.
    """
    logits, state = model(x, state)
    state = detached(state)
    loss = nn.SoftmaxLoss()(logits, y)
    optimizer.reset_grad()
    scaler.scale(loss * len(x) if sum_over_steps else loss).backward()
    if clip_norm is not None:
        scaler.unscale_(optimizer)
        optimizer.clip_grad_norm(clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach() * len(y), state


def evaluate_ptb(
    model: LanguageModel,
    data: np.ndarray,
    *,
    seq_len: int = 35,
    step: Callable[..., tuple[Tensor, State]] | None = None,
    desc: str = "test",
) -> tuple[float, float]:
    """The perplexity and the mean loss of the model, in evaluation mode, over all of `data` (nbatch, B).

    `step` is `evaluation_step`, the default, or ndl.jit(evaluation_step).
    """
    check_data("evaluate_ptb", model, data, seq_len)
    step = step or evaluation_step
    device = model.parameters()[0].device
    mean_loss = RunningMean()
    perplexity = Perplexity(mean_loss)
    state: State = None
    model.eval()
    with ndl.no_grad(), ndl.tqdm(range(0, len(data) - 1, seq_len), desc=desc, unit="batch") as bar:
        bar.metrics(loss=mean_loss, ppl=perplexity)
        for start in bar:
            x, y = get_batch(data, start, seq_len, device=device)
            losses, state = step(model, x, y, state)
            mean_loss.add(losses, len(y))
    return float(perplexity), float(mean_loss)


def evaluation_step(model: LanguageModel, x: Tensor, y: Tensor, state: State) -> tuple[Tensor, State]:
    """The sum of the losses of one piece, and the state after it."""
    logits, state = model(x, state)
    return nn.SoftmaxLoss()(logits, y) * len(y), state


def detached(state: State) -> State:
    """The state without its graph, so that no gradient flows to an earlier piece."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state if state is None else state.detach()


def check_data(function: str, model: LanguageModel, data: np.ndarray, seq_len: int) -> None:
    """Raises ShapeError or DTypeError, in the name of `function`, for data that the model cannot read."""
    longest = getattr(model.seq_model, "sequence_len", math.inf)  # only a Transformer has a limit
    if not 1 <= seq_len <= longest:
        upper = "" if longest == math.inf else f", at most the {longest} positions of a Transformer"
        raise ShapeError(f"{function}: seq_len of {seq_len}: expected 1 or more{upper}")
    if len(data.shape) != 2 or data.shape[0] < 2 or data.shape[1] < 1:
        raise ShapeError(f"{function}: data of shape {data.shape}: expected (nbatch, B) with nbatch of 2 or more")
    if not np.array_equal(data, np.trunc(data)):
        raise DTypeError(f"{function}: data of dtype {data.dtype}: expected whole numbers, the ids of words")
    low, high = int(data.min()), int(data.max())
    if low < 0 or high >= model.vocab_size:
        met = low if low < 0 else high
        raise ShapeError(f"{function}: the word id {met}: expected 0 to {model.vocab_size - 1}, the model's vocabulary")


def number_of_pieces(data: np.ndarray, seq_len: int) -> int:
    """The number of pieces of `seq_len` words in an epoch over `data` (nbatch, B); a text's last word is no input."""
    return -(-(len(data) - 1) // seq_len)


def parallel_texts(split: str, text: np.ndarray) -> np.ndarray:
    """The text as (nbatch, batch_size), cut after --limit_batches pieces."""
    try:
        batches = batchify(text, FLAGS.batch_size)
    except ValueError as error:
        raise DataError(f"--batch_size={FLAGS.batch_size}: the {split} split: {error}") from None
    return batches if FLAGS.limit_batches is None else batches[: FLAGS.limit_batches * FLAGS.seq_len + 1]


def initialize(model: LanguageModel) -> None:
    """Sets parameters uniform on +-init_scale, except in transformer layers, whose normalizations must start near 1."""
    parts = [model]
    if FLAGS.seq_model == "transformer":
        parts = [model.embedding, model.seq_model.position_embedding, model.linear]
    for part in parts:
        for parameter in part.parameters():
            values = ndl.init.rand(*parameter.shape, low=-FLAGS.init_scale, high=FLAGS.init_scale)
            parameter.data = values.to(parameter.device)


if __name__ == "__main__":
    define_flags()
    run_program(PROGRAM, main)  # prints what main returns as JSON
