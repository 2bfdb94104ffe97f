"""One epoch of training or evaluating a language model, with truncated backpropagation through time.

    perplexity, loss = train_ptb(model, train_data, clip_norm=0.25)
    perplexity, loss = evaluate_ptb(model, test_data)

The data come from `needle.data.batchify`: B texts side by side, which are read in pieces of `seq_len` words. The
model's state is carried over from one piece to the next, but no gradient flows between pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from experiments.epoch import learner, run_epoch
from experiments.metrics import Perplexity, RunningMean
from experiments.models.language_model import LanguageModel, State
from needle import nn, optim
from needle.amp import GradScaler
from needle.autograd import Tensor, no_grad
from needle.data import get_batch
from needle.errors import DTypeError, ShapeError


def train_ptb(
    model: LanguageModel,
    train_data: np.ndarray,
    *,
    seq_len: int = 35,
    clip_norm: float | None = 0.25,
    optimizer: optim.Optimizer | None = None,
    scaler: GradScaler | None = None,
    sum_over_steps: bool = False,
    desc: str = "train",
    steps_before: int = 0,
    allow_nan: bool = False,
) -> tuple[float, float]:
    """Trains once on all of `train_data` (nbatch, B); returns the perplexity and the mean loss during training.

    The loss is the mean cross-entropy of the words, in nats, and the perplexity its exponential. The gradient is that
    of `_objective`; its norm is clipped to `clip_norm`. The default optimizer is a new SGD with lr=20, which suits the
    default `clip_norm`: no step is longer than 5. (With seq_len=20 these are the steps of Zaremba et al. 2014, who sum
    over the 20 steps, clip to 5 and begin with lr=1.)

    The scaler is for training within autocast("float16"). `desc` is the text before the progress bar. Raises
    ShapeError, before training, for data of another shape or with ids outside the vocabulary. Raises NonFiniteLoss,
    unless `allow_nan`, soon after a loss that is not finite; the step that it names counts from 1 after `steps_before`.
    """
    learn = learner(optimizer or optim.SGD(model.parameters(), lr=20.0), clip_norm=clip_norm, scaler=scaler)
    model.train()

    def learn_piece(loss: Tensor, steps: int) -> None:
        learn(_objective(loss, steps, sum_over_steps))

    return _run("train_ptb", model, train_data, seq_len, desc, learn_piece, None if allow_nan else steps_before)


def evaluate_ptb(
    model: LanguageModel, data: np.ndarray, *, seq_len: int = 35, desc: str = "test"
) -> tuple[float, float]:
    """The perplexity and the mean loss of the model, in evaluation mode, over all of `data` (nbatch, B)."""
    model.eval()
    with no_grad():
        return _run("evaluate_ptb", model, data, seq_len, desc)


def number_of_pieces(data: np.ndarray, seq_len: int) -> int:
    """The number of pieces of `seq_len` words in an epoch over `data` (nbatch, B); a text's last word is no input."""
    return -(-(len(data) - 1) // seq_len)


def _objective(loss: Tensor, steps: int, sum_over_steps: bool) -> Tensor:
    """The value to differentiate: the mean over the T * B words of a piece, or T times that if `sum_over_steps`.

    The latter is the sum over the T steps of the mean over the B texts, as in Zaremba, Sutskever and Vinyals 2014. The
    learning rate and the limit on the gradient's norm are meaningful only together with this choice.
    """
    return loss * steps if sum_over_steps else loss


def _run(
    function: str,
    model: LanguageModel,
    data: np.ndarray,
    seq_len: int,
    desc: str,
    learn: Callable[[Tensor, int], None] | None = None,
    steps_before: int | None = None,
) -> tuple[float, float]:
    """Perplexity and mean loss; `steps_before` as in `run_epoch`."""
    _check(function, model, data, seq_len)
    loss_function = nn.SoftmaxLoss()
    device = model.parameters()[0].device
    mean_loss = RunningMean()
    state: State = None

    def run_piece(start: int) -> None:
        nonlocal state
        x, y = get_batch(data, start, seq_len, device=device)
        logits, after = model(x, state)
        state = _detached(after)
        loss = loss_function(logits, y)
        if learn is not None:
            learn(loss, len(x))
        mean_loss.add(loss.detach() * len(y), len(y))

    perplexity = Perplexity(mean_loss)
    run_epoch(range(0, len(data) - 1, seq_len), run_piece, desc, mean_loss, {"ppl": perplexity}, steps_before)
    return float(perplexity), float(mean_loss)


def _detached(state: State) -> State:
    """The state without its graph."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state if state is None else state.detach()


def _check(function: str, model: LanguageModel, data: np.ndarray, seq_len: int) -> None:
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
