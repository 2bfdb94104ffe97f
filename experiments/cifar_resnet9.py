"""Trains a ResNet-9 on CIFAR-10.

    bazel run //experiments:cifar_resnet9 -- --data_dir=DIR --epochs=10 --augment --out=DIR

Shows a progress bar per epoch. After each epoch it writes a checkpoint, metrics.jsonl and curves.png to --out. The last
line on standard output is a JSON object with the final figures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

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
from experiments.metrics import RunningMean
from experiments.models.resnet9 import ResNet9, ResNet9Wide
from experiments.training_run import RunFolder, TrainingRun, checkpoint_to_resume
from needle import Device, Tensor, nn, optim
from needle.amp import GradScaler
from needle.data import DataLoader, Normalize, RandomCrop, RandomFlipHorizontal, cifar10, load_cifar10

PROGRAM = "cifar_resnet9"
ARCHITECTURES = {"resnet9": ResNet9, "resnet9_wide": ResNet9Wide}

LossFunction = Callable[[Tensor, Tensor], Tensor]

# Defaults, which have no state. One of each for all epochs: for a jitted step a new object is another kind of call.
SOFTMAX_LOSS, NO_SCALER = nn.SoftmaxLoss(), GradScaler(enabled=False)


def define_flags() -> None:
    define_training_flags(PROGRAM, epochs=10, batch_size=128, lr=1e-3)
    flags.DEFINE_enum("arch", "resnet9", list(ARCHITECTURES), "Model.")
    flags.DEFINE_float("weight_decay", 1e-3, "Weight decay, as a term of the gradient.")
    flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "Adam, or SGD with Nesterov momentum of 0.9.")
    flags.DEFINE_enum("schedule", "constant", ["constant", "cosine", "onecycle"], "Learning rate over a run's steps.")
    flags.DEFINE_bool("augment", False, "Flip training images at random and shift them by up to 3 pixels.")
    flags.register_validator(
        "weight_decay", lambda value: 0 <= value < math.inf, "expected a finite number of 0 or more"
    )


def main() -> dict[str, Any]:
    """Trains as the flags say; returns the final figures."""
    with RunFolder(FLAGS.out) as folder:
        device = chosen_device()
        # None without --resume. With it, flags that are not given become those of the run that the checkpoint is of.
        checkpoint = checkpoint_to_resume(folder, PROGRAM)

        ndl.manual_seed(FLAGS.seed)
        train_batches, test_batches, source = load_data(device)
        data = "synthetic" if source == "synthetic" else "CIFAR-10"
        model = ARCHITECTURES[FLAGS.arch](device=device)
        parameters = sum(parameter.size for parameter in model.parameters())
        optimizer = make_optimizer(model)
        schedule = make_schedule(optimizer, steps=FLAGS.epochs * len(train_batches))
        # Mixed precision: within `precision`, operations cast their inputs. Only float16 needs a scaled loss.
        precision, scaler = chosen_precision()
        # With --jit, each kind of batch is recorded twice, then replayed as one program; one function for all epochs.
        steps = train_step, evaluation_step
        step_of_training, step_of_evaluation = map(ndl.jit, steps) if FLAGS.jit else steps

        notice(f"{FLAGS.arch} with {parameters:,} parameters on {FLAGS.device}; data: {source}; results: {folder.path}")
        config = {"program": PROGRAM, "data": data, "flags": run_flags()}
        title = f"{FLAGS.arch} on {data}, {FLAGS.device}"
        run = TrainingRun(folder, (model, optimizer, schedule, scaler), config, title, FLAGS.allow_nan)
        run.begin(checkpoint)  # saves the state before training, or restores the one after the last epoch saved

        # Ctrl-C, or a loss that is not finite, ends the run with a line that says which state the checkpoint has.
        with run, precision:
            for epoch in range(run.epoch + 1, FLAGS.epochs + 1):
                accuracy, loss = train_epoch(
                    model,
                    train_batches,
                    optimizer,
                    schedule=schedule,
                    scaler=scaler,
                    step=step_of_training,
                    desc=f"Epoch {epoch}/{FLAGS.epochs} train",
                    steps_before=(epoch - 1) * len(train_batches),
                    allow_nan=FLAGS.allow_nan,
                )
                run.record(epoch, "train", loss=loss, accuracy=accuracy, samples=train_batches.samples())
                desc = f"Epoch {epoch}/{FLAGS.epochs} test"
                accuracy, loss = evaluate(model, test_batches, step=step_of_evaluation, desc=desc)
                run.record(epoch, "test", loss=loss, accuracy=accuracy, samples=test_batches.samples())
                run.save(epoch)  # the checkpoint; the rows recorded so far, as metrics.jsonl and curves.png

        return {
            "program": PROGRAM,
            "arch": FLAGS.arch,
            "parameters": parameters,
            "data": data,
            "device": FLAGS.device,
            "amp": FLAGS.amp,
            **run.final_figures("accuracy", best_of="test", speed="samples_per_second"),
        }


def train_epoch(
    model: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    optimizer: optim.Optimizer | None = None,
    loss_function: LossFunction | None = None,
    *,
    schedule: optim.Schedule | None = None,
    scaler: GradScaler | None = None,
    step: Callable[..., tuple[Tensor, Tensor]] | None = None,
    desc: str = "train",
    steps_before: int = 0,
    allow_nan: bool = False,
) -> tuple[float, float]:
    """Trains on every batch (x, labels) once; returns the accuracy and the mean loss during training.

    The default optimizer is a new Adam with lr=1e-3, which keeps nothing from one epoch to the next; the default loss
    function is nn.SoftmaxLoss. The schedule, if any, makes a step per batch. The scaler is for training within
    autocast("float16"). `step` is `train_step`, the default, or ndl.jit(train_step). `desc` is the text before the
    progress bar. Raises NonFiniteLoss, unless `allow_nan`, soon after a loss that is not finite; the step that it names
    counts from 1 after `steps_before`.
    """
    optimizer = optimizer or optim.Adam(model.parameters(), lr=1e-3)
    loss_function = loss_function or SOFTMAX_LOSS
    scaler = scaler or NO_SCALER
    step = step or train_step
    device = model.parameters()[0].device
    mean_loss, accuracy = RunningMean(), RunningMean()  # read now and then, so that no step waits for the device
    model.train()
    with ndl.tqdm(dataloader, desc=desc, unit="batch") as bar:
        bar.metrics(loss=mean_loss, acc=accuracy)
        for batch in bar:
            x, labels = (tensor.to(device) for tensor in batch)
            losses, correct = step(model, loss_function, optimizer, schedule, scaler, x, labels)
            mean_loss.add(losses, len(x))
            accuracy.add(correct, len(x))
            if not allow_nan:
                mean_loss.check_finite(steps_before)
    figures = float(accuracy), float(mean_loss)  # reads the last losses
    if not allow_nan:
        mean_loss.check_finite(steps_before)
    return figures


def train_step(
    model: nn.Module,
    loss_function: LossFunction,
    optimizer: optim.Optimizer,
    schedule: optim.Schedule | None,
    scaler: GradScaler,
    x: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Trains on one batch; returns the sum of the losses and the number of correct answers, before the step."""
    logits = model(x)
    loss = loss_function(logits, labels)
    optimizer.reset_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if schedule is not None:
        schedule.step()
    return loss.detach() * len(x), number_correct(logits.detach(), labels)


def evaluate(
    model: nn.Module,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    loss_function: LossFunction | None = None,
    *,
    step: Callable[..., tuple[Tensor, Tensor]] | None = None,
    desc: str = "test",
) -> tuple[float, float]:
    """The accuracy and the mean loss of the model, in evaluation mode, over all batches (x, labels).

    `step` is `evaluation_step`, the default, or ndl.jit(evaluation_step).
    """
    loss_function = loss_function or SOFTMAX_LOSS
    step = step or evaluation_step
    device = model.parameters()[0].device
    mean_loss, accuracy = RunningMean(), RunningMean()
    model.eval()
    with ndl.no_grad(), ndl.tqdm(dataloader, desc=desc, unit="batch") as bar:
        bar.metrics(loss=mean_loss, acc=accuracy)
        for batch in bar:
            x, labels = (tensor.to(device) for tensor in batch)
            losses, correct = step(model, loss_function, x, labels)
            mean_loss.add(losses, len(x))
            accuracy.add(correct, len(x))
    return float(accuracy), float(mean_loss)


def evaluation_step(model: nn.Module, loss_function: LossFunction, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the losses and the number of correct answers of one batch."""
    logits = model(x)
    return loss_function(logits, labels) * len(x), number_correct(logits, labels)


def number_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of rows of logits (N, classes) whose maximum is at the label (N,)."""
    return ndl.ops.equal(logits.argmax(1), labels).astype("float32").sum()


class FirstBatches:
    """The first `limit` batches of a DataLoader, or all of them if `limit` is None."""

    def __init__(self, dataloader: DataLoader, limit: int | None) -> None:
        self.dataloader = dataloader
        self.limit = limit

    def __len__(self) -> int:
        batches = len(self.dataloader)
        return batches if self.limit is None else min(self.limit, batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return itertools.islice(self.dataloader, self.limit)

    def samples(self) -> int:
        """The number of examples in all the batches."""
        return min(len(self) * self.dataloader.batch_size, len(self.dataloader.dataset))


def load_data(device: Device) -> tuple[FirstBatches, FirstBatches, str]:
    """The batches (x, labels) to train on and to test on, and a text that says where they come from."""
    normalize = Normalize(cifar10.MEAN, cifar10.STD)  # last, so that the zeros that a crop shifts in are black
    transforms = [RandomFlipHorizontal(), RandomCrop(padding=3), normalize] if FLAGS.augment else normalize
    train_set, test_set, source = load_cifar10(
        FLAGS.data_dir, transforms=transforms, test_transforms=normalize, notice=notice
    )
    # On the CPU a step uses all cores, and a thread that makes the next batch meanwhile would take one of them.
    options = {"device": device, "num_workers": 0 if device.name == "cpu" else 1}
    train_batches = FirstBatches(DataLoader(train_set, FLAGS.batch_size, shuffle=True, **options), FLAGS.limit_batches)
    test_batches = FirstBatches(DataLoader(test_set, FLAGS.batch_size, **options), FLAGS.limit_batches)
    return train_batches, test_batches, source


def make_optimizer(model: nn.Module) -> optim.Optimizer:
    options = {"lr": FLAGS.lr, "weight_decay": FLAGS.weight_decay}
    if FLAGS.optimizer == "adam":
        return optim.Adam(model.parameters(), **options)
    return optim.SGD(model.parameters(), momentum=0.9, dampening=0, nesterov=True, **options)


def make_schedule(optimizer: optim.Optimizer, steps: int) -> optim.Schedule | None:
    if FLAGS.schedule == "cosine":
        return optim.CosineAnnealingLR(optimizer, steps)
    if FLAGS.schedule == "onecycle":
        return optim.OneCycleLR(optimizer, FLAGS.lr, steps)
    return None


if __name__ == "__main__":
    define_flags()
    run_program(PROGRAM, main)  # prints what main returns as JSON
