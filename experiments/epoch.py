"""An epoch of any model: batches with a progress bar, learning steps, and a check of the loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from experiments.metrics import RunningMean
from needle import optim
from needle.amp import GradScaler
from needle.autograd import Tensor
from needle.progress import tqdm


class FirstBatches:
    """The first `limit` batches of a DataLoader, or all of them if `limit` is None."""

    def __init__(self, dataloader: Iterable, limit: int | None) -> None:
        self.dataloader = dataloader
        self.limit = limit

    def __len__(self) -> int:
        batches = len(self.dataloader)
        return batches if self.limit is None else min(self.limit, batches)

    def __iter__(self) -> Iterator:
        return itertools.islice(self.dataloader, self.limit)


def learner(
    optimizer: optim.Optimizer,
    schedule: optim.Schedule | None = None,
    clip_norm: float | None = None,
    scaler: GradScaler | None = None,
) -> Callable[[Tensor], None]:
    """A function that makes an optimizer step for a loss, with the gradient's norm clipped to `clip_norm` if given.

    The schedule, if any, makes a step too, even if the scaler skips the optimizer's.
    """
    scaler = scaler or GradScaler(enabled=False)

    def learn(loss: Tensor) -> None:
        optimizer.reset_grad()
        scaler.scale(loss).backward()
        if clip_norm is not None:
            scaler.unscale_(optimizer)
            optimizer.clip_grad_norm(clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if schedule is not None:
            schedule.step()

    return learn


def run_epoch(
    batches: Iterable,
    run_batch: Callable[[Any], None],
    desc: str,
    mean_loss: RunningMean,
    shown: dict[str, Any],
    steps_before: int | None = None,
) -> None:
    """Calls `run_batch`, which adds to `mean_loss`, on every batch, and shows a progress bar.

    The bar has `desc` in front, and shows the mean loss and the values in `shown` by name. `steps_before` is the number
    of steps made before this epoch; unless it is None, a loss that is not finite soon raises NonFiniteLoss.
    """
    with tqdm(batches, desc=desc, unit="batch") as bar:
        bar.metrics(loss=mean_loss, **shown)
        for batch in bar:
            run_batch(batch)
            if steps_before is not None:
                mean_loss.check_finite(steps_before)
    float(mean_loss)  # reads the last losses
    if steps_before is not None:
        mean_loss.check_finite(steps_before)
