"""Trains a ResNet-9 on CIFAR-10.

    bazel run //experiments:cifar_resnet9 -- --data_dir=DIR --epochs=10 --augment --out=DIR

Shows a progress bar per epoch. After each epoch it writes a checkpoint, metrics.jsonl and curves.png to --out. The last
line on standard output is a JSON object with the final figures.
"""

from __future__ import annotations

import math
from typing import Any

from absl import flags

from experiments import command_line, training_program
from experiments.command_line import FLAGS, notice, user_path
from experiments.epoch import FirstBatches
from experiments.models.resnet9 import ResNet9, ResNet9Wide
from experiments.run_folder import RunFolder
from experiments.trainer import evaluate, train_epoch
from experiments.training_run import Figures, TrainingRun
from needle import optim
from needle.backend_ndarray import random
from needle.data import DataLoader, Normalize, RandomCrop, RandomFlipHorizontal, cifar10, load_cifar10

PROGRAM = "cifar_resnet9"
ARCHITECTURES = {"resnet9": ResNet9, "resnet9_wide": ResNet9Wide}

command_line.define_run_flags(PROGRAM, epochs=10, batch_size=128, lr=1e-3)
flags.DEFINE_enum("arch", "resnet9", list(ARCHITECTURES), "Model.")
flags.DEFINE_float("weight_decay", 1e-3, "Weight decay, as a term of the gradient.")
flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "Adam, or SGD with Nesterov momentum of 0.9.")
flags.DEFINE_enum("schedule", "constant", ["constant", "cosine", "onecycle"], "Learning rate over a run's steps.")
flags.DEFINE_bool("augment", False, "Flip training images at random and shift them by up to 3 pixels.")
flags.register_validator("weight_decay", lambda value: 0 <= value < math.inf, "expected a finite number of 0 or more")

# The flags that define a run. A resumed run may change some of these: more epochs, or data that have moved.
CONFIG = (
    "amp", "arch", "augment", "batch_size", "data_dir", "epochs", "limit_batches", "lr", "optimizer", "schedule",
    "seed", "weight_decay",
)  # fmt: skip
FREE_TO_CHANGE = {"data_dir", "epochs"}


def main() -> dict[str, Any]:
    with RunFolder(user_path(FLAGS.out)) as folder:
        return _train(folder)


def _train(folder: RunFolder) -> dict[str, Any]:
    device = command_line.chosen_device()
    state = training_program.state_to_resume(folder, PROGRAM, FREE_TO_CHANGE)
    precision, scaler = command_line.chosen_precision()

    random.manual_seed(FLAGS.seed)
    normalize = Normalize(cifar10.MEAN, cifar10.STD)  # last, so that the zeros that a crop shifts in are black
    transforms = [RandomFlipHorizontal(), RandomCrop(padding=3), normalize] if FLAGS.augment else normalize
    train_set, test_set, source = load_cifar10(
        FLAGS.data_dir, transforms=transforms, test_transforms=normalize, notice=notice
    )
    data = "synthetic" if source == "synthetic" else "CIFAR-10"
    # On the CPU a step uses all cores, and a thread that makes the next batch meanwhile would take one of them.
    workers = 0 if device.name == "cpu" else 1
    train_batches, test_batches = (
        FirstBatches(DataLoader(dataset, FLAGS.batch_size, shuffle, device, num_workers=workers), FLAGS.limit_batches)
        for dataset, shuffle in ((train_set, True), (test_set, False))
    )
    model = ARCHITECTURES[FLAGS.arch](device=device)
    optimizer = _optimizer(model)
    schedule = _schedule(optimizer, steps=FLAGS.epochs * len(train_batches))
    parameters = sum(parameter.size for parameter in model.parameters())
    notice(f"{FLAGS.arch} with {parameters:,} parameters on {FLAGS.device}; data: {source}; results: {folder.folder}")

    config = {"program": PROGRAM, "data": data, "flags": command_line.flag_values(*CONFIG)}
    run = TrainingRun(folder, model, optimizer, schedule, config, f"{FLAGS.arch} on {data}, {FLAGS.device}", scaler)
    training_program.begin(run, state)

    def train(epoch: int) -> Figures:
        accuracy, loss = train_epoch(
            model,
            train_batches,
            optimizer,
            schedule=schedule,
            scaler=scaler,
            desc=f"Epoch {epoch}/{FLAGS.epochs} train",
            steps_before=(epoch - 1) * len(train_batches),
            allow_nan=FLAGS.allow_nan,
        )
        return {"loss": loss, "accuracy": accuracy, "samples": _samples(train_batches)}

    def test(epoch: int) -> Figures:
        accuracy, loss = evaluate(model, test_batches, desc=f"Epoch {epoch}/{FLAGS.epochs} test")
        return {"loss": loss, "accuracy": accuracy, "samples": _samples(test_batches)}

    with precision:
        run.fit(FLAGS.epochs, train, {"test": test}, allow_nan=FLAGS.allow_nan)
    return {
        "program": PROGRAM,
        "arch": FLAGS.arch,
        "parameters": parameters,
        "data": data,
        "device": FLAGS.device,
        "amp": FLAGS.amp,
        **training_program.final_figures(run, "accuracy", "samples_per_second", best_of=(max, "test")),
    }


def _optimizer(model) -> optim.Optimizer:
    options = {"lr": FLAGS.lr, "weight_decay": FLAGS.weight_decay}
    if FLAGS.optimizer == "adam":
        return optim.Adam(model.parameters(), **options)
    return optim.SGD(model.parameters(), momentum=0.9, dampening=0, nesterov=True, **options)


def _schedule(optimizer: optim.Optimizer, steps: int) -> optim.Schedule | None:
    if FLAGS.schedule == "cosine":
        return optim.CosineAnnealingLR(optimizer, steps)
    if FLAGS.schedule == "onecycle":
        return optim.OneCycleLR(optimizer, FLAGS.lr, steps)
    return None


def _samples(batches: FirstBatches) -> int:
    """The number of examples in an epoch over the batches."""
    return min(len(batches) * FLAGS.batch_size, len(batches.dataloader.dataset))


if __name__ == "__main__":
    command_line.run_program(PROGRAM, main)
