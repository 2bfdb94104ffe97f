"""Optimizers, which update parameters by their gradients, and schedules of an optimizer's learning rate."""

from needle.optim.adam import Adam, AdamW
from needle.optim.optimizer import Optimizer
from needle.optim.schedule import CosineAnnealingLR, LinearWarmup, MultiStepLR, OneCycleLR, Schedule, StepLR
from needle.optim.sgd import SGD

__all__ = [
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "SGD",
    "Schedule",
    "StepLR",
]
