"""Layers: modules with parameters, from which models are built."""

from needle.autograd import Parameter
from needle.nn.activation import GELU, ReLU, Sigmoid, Tanh
from needle.nn.attention import AttentionLayer, MultiHeadAttention
from needle.nn.container import Flatten, Identity, Residual, Sequential
from needle.nn.conv import Conv
from needle.nn.dropout import Dropout
from needle.nn.embedding import Embedding
from needle.nn.linear import Linear
from needle.nn.loss import SoftmaxLoss
from needle.nn.module import Module
from needle.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm1d
from needle.nn.pool import AvgPool2d, MaxPool2d
from needle.nn.rnn import LSTM, RNN
from needle.nn.rnn_cell import LSTMCell, RNNCell
from needle.nn.transformer import Transformer, TransformerLayer

__all__ = [
    "AttentionLayer",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELU",
    "Identity",
    "LSTM",
    "LSTMCell",
    "LayerNorm1d",
    "Linear",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "RNN",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SoftmaxLoss",
    "Tanh",
    "Transformer",
    "TransformerLayer",
]
