"""One epoch of training or evaluating a classifier.

    accuracy, loss = train_epoch(model, dataloader, optimizer)
    accuracy, loss = evaluate(model, test_dataloader)

training_run.py runs the epochs, with metrics, curves and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from experiments.epoch import learner, run_epoch
from experiments.metrics import RunningMean
from needle import nn, ops, optim
from needle.amp import GradScaler
from needle.autograd import Tensor, no_grad

LossFunction = Callable[[Tensor, Tensor], Tensor]


def train_epoch(
    model: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    optimizer: optim.Optimizer | None = None,
    loss_function: LossFunction | None = None,
    *,
    schedule: optim.Schedule | None = None,
    scaler: GradScaler | None = None,
    desc: str = "train",
    steps_before: int = 0,
    allow_nan: bool = False,
) -> tuple[float, float]:
    """Trains on every batch (x, labels) once; returns the accuracy and the mean loss during training.

    The default optimizer is a new Adam with lr=1e-3, which keeps nothing from one epoch to the next; the default loss
    function is nn.SoftmaxLoss. The schedule, if any, makes a step per batch. The scaler is for training within
    autocast("float16"). `desc` is the text before the progress bar. Raises NonFiniteLoss, unless `allow_nan`, soon
    after a loss that is not finite; the step that it names counts from 1 after `steps_before`.
    """
    learn = learner(optimizer or optim.Adam(model.parameters(), lr=1e-3), schedule, scaler=scaler)
    model.train()
    return _run(model, dataloader, loss_function, desc, learn, None if allow_nan else steps_before)


def evaluate(
    model: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    loss_function: LossFunction | None = None,
    *,
    desc: str = "test",
) -> tuple[float, float]:
    """The accuracy and the mean loss of the model, in evaluation mode, over all batches (x, labels)."""
    model.eval()
    with no_grad():
        return _run(model, dataloader, loss_function, desc)


def _run(
    model: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    loss_function: LossFunction | None,
    desc: str,
    learn: Callable[[Tensor], None] | None = None,
    steps_before: int | None = None,
) -> tuple[float, float]:
    """Accuracy and mean loss; `steps_before` as in `run_epoch`."""
    loss_function = loss_function or nn.SoftmaxLoss()
    device = model.parameters()[0].device
    mean_loss, accuracy = RunningMean(), RunningMean()

    def run_batch(batch: tuple[Tensor, Tensor]) -> None:
        x, labels = (tensor.to(device) for tensor in batch)
        logits = model(x)
        loss = loss_function(logits, labels)
        if learn is not None:
            learn(loss)
        mean_loss.add(loss.detach() * len(x), len(x))
        accuracy.add(_number_correct(logits.detach(), labels), len(x))

    run_epoch(dataloader, run_batch, desc, mean_loss, {"acc": accuracy}, steps_before)
    return float(accuracy), float(mean_loss)


def _number_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of rows of logits (N, classes) whose maximum is at the label (N,)."""
    return ops.equal(logits.argmax(1), labels).astype("float32").sum()
