"""Layers: modules with parameters, to be put together into models."""

from needle.autograd import Parameter
from needle.nn.activation import GELU, ReLU, Sigmoid, Tanh
from needle.nn.container import Flatten, Identity, Residual, Sequential
from needle.nn.conv import Conv
from needle.nn.dropout import Dropout
from needle.nn.embedding import Embedding
from needle.nn.linear import Linear
from needle.nn.loss import SoftmaxLoss
from needle.nn.module import Module
from needle.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm1d
from needle.nn.pool import AvgPool2d, MaxPool2d

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELU",
    "Identity",
    "LayerNorm1d",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SoftmaxLoss",
    "Tanh",
]
