"""Calls of layers, initializers, optimizers, schedules, mixed precision, data sets and what else a training run has."""

from __future__ import annotations

import io

import numpy as np

import needle as ndl
from needle import amp, data, init, nn, optim
from tests.errors.array_calls import indices
from tests.errors.calls import Made, call, t, the_device

_OPTIONS = {"device": the_device, "dtype": "float32"}
_INITIALIZERS = "kaiming_uniform kaiming_normal xavier_uniform xavier_normal rand randn"


def _layer(layer: type, *arguments, inputs: tuple, also: str = "", on_device: bool = True, **keywords) -> list:
    """Calls that make it, and that call it."""
    options = _OPTIONS if on_device else {}
    fitting = Made(lambda device: layer(*arguments, **keywords, **({"device": device} if on_device else {})))
    name = layer.__name__
    return [
        call(name, layer, *arguments, **keywords, **options, also=f"{_INITIALIZERS} Dropout MultiHeadAttention"),
        call(name, fitting, *inputs, also=also),
    ]


LAYERS = [
    *_layer(nn.Linear, 3, 4, bias=True, nonlinearity="relu", inputs=(t(2, 3),)),
    *_layer(nn.Conv, 2, 3, 3, stride=1, bias=False, inputs=(t(1, 2, 4, 4),), also="conv2d"),
    *_layer(nn.BatchNorm1d, 3, eps=1e-5, momentum=0.1, nonlinearity=None, inputs=(t(4, 3),), also="batch_norm"),
    *_layer(nn.BatchNorm2d, 2, eps=1e-5, momentum=0.1, inputs=(t(1, 2, 4, 4),), also="batch_norm"),
    *_layer(nn.LayerNorm1d, 3, eps=1e-5, inputs=(t(2, 3),), also="layer_norm"),
    *_layer(nn.RNN, 3, 4, num_layers=2, bias=True, nonlinearity="tanh", dropout=0.5, inputs=(t(3, 2, 3), t(2, 2, 4)), also="RNNCell"),
    *_layer(nn.LSTM, 3, 4, num_layers=1, dropout=0.5, inputs=(t(3, 2, 3), (t(1, 2, 4), t(1, 2, 4))), also="LSTMCell"),
    *_layer(nn.RNNCell, 3, 4, bias=True, nonlinearity="relu", inputs=(t(2, 3), t(2, 4)), also="rnn_cell matmul add"),
    *_layer(nn.LSTMCell, 3, 4, bias=True, inputs=(t(2, 3), (t(2, 4), t(2, 4))), also="lstm_cell matmul add multiply"),
    *_layer(nn.MultiHeadAttention, dropout=0.0, causal=True, inputs=(t(1, 2, 3, 4),) * 3, also="matmul softmax add multiply"),
    *_layer(nn.AttentionLayer, 4, 2, 3, k_features=4, causal=True, inputs=(t(1, 3, 4),) * 3, also="layer_norm matmul"),
    *_layer(nn.TransformerLayer, 4, 2, 3, 5, dropout=0.1, inputs=(t(1, 3, 4),), also="AttentionLayer layer_norm add"),
    *_layer(nn.Transformer, 4, 5, 1, num_head=2, dim_head=3, sequence_len=9, batch_first=True, inputs=(t(1, 3, 4),), also="add layer_norm"),
    *_layer(nn.Dropout, 0.5, inputs=(t(2, 3),), on_device=False, also="dropout_mask"),
    *_layer(nn.MaxPool2d, 2, stride=2, padding=1, inputs=(t(1, 2, 4, 4),), on_device=False),
    *_layer(nn.AvgPool2d, 2, stride=None, inputs=(t(1, 2, 4, 4),), on_device=False),
    *_layer(nn.Residual, nn.ReLU(), nonlinearity=None, inputs=(t(2, 3),), on_device=False, also="relu add_relu add"),
    *_layer(nn.Sequential, nn.ReLU(), nn.Tanh(), inputs=(t(2, 3),), on_device=False, also="relu"),
    *(
        call(layer.__name__, Made(lambda device, layer=layer: layer()), t(2, 3))
        for layer in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.Flatten, nn.Identity)
    ),
    call("Embedding", Made(lambda device: nn.Embedding(5, 3, device=device)), indices, also="gather"),
    call("SoftmaxLoss", Made(lambda device: nn.SoftmaxLoss()), t(2, 3), indices, also="softmax_cross_entropy"),
    call("Embedding", nn.Embedding, 5, 3, **_OPTIONS, also=_INITIALIZERS),
    call("load_state_dict", lambda m, state: m.load_state_dict(state), Made(lambda d: nn.Linear(1, 1)),
         {"weight": np.ones((1, 1)), "bias": np.ones((1, 1))}, fixed=1),
    call("load_state_dict", lambda weight: nn.Linear(1, 1, bias=False).load_state_dict({"weight": weight}), np.ones((1, 1))),
    call("train", lambda m, *args: m.train(*args), Made(lambda d: nn.Linear(1, 1)), True, fixed=1),
    call("to", lambda m, *args, **kwargs: m.to(*args, **kwargs), Made(lambda d: nn.Linear(1, 1)), the_device,
         dtype="float16", fixed=1),
]  # fmt: skip

_parameters = Made(lambda device: [ndl.Parameter([1.0], device=device)])
_sgd = Made(lambda device: optim.SGD([ndl.Parameter([1.0], device=device)], momentum=0.5))
_scaler = Made(lambda device: amp.GradScaler())


def _loaded(name: str, make, state: dict) -> list:
    """Calls of load_state_dict, of all and of each entry."""
    where = "load_state_dict"
    return [
        call(where, lambda part, state: part.load_state_dict(state), make, state, fixed=1, also=name),
        *(
            call(where, lambda part, value, key=key: part.load_state_dict({**state, key: value}), make, state[key],
                 fixed=1, also=name)
            for key in state
        ),
    ]  # fmt: skip


def _stepped(gradient) -> None:
    parameter = ndl.Parameter([1.0])
    parameter.grad = gradient
    optim.SGD([parameter]).step()


def _step_with_rate(lr) -> None:
    optimizer = _sgd.make(ndl.cpu())
    optimizer.params[0].grad = ndl.Tensor([1.0])
    optimizer.lr = lr
    optimizer.step()


TRAINING = [
    call("SGD", optim.SGD, _parameters, 0.1, momentum=0.5, weight_decay=0.1, dampening=0, nesterov=True),
    call("Adam", optim.Adam, _parameters, 0.1, 0.9, beta2=0.9, eps=1e-8, weight_decay=0.1),
    call("AdamW", optim.AdamW, _parameters, lr=0.1, beta1=0.9, weight_decay=0.1),
    call("clip_grad_norm", lambda o, x: o.clip_grad_norm(x), _sgd, 1.0, fixed=1, also="SGD"),
    call("step", _step_with_rate, 0.1, also="SGD lr"),
    call("step", _stepped, Made(lambda device: ndl.Tensor([1.0])), also="SGD"),
    *_loaded("SGD", _sgd, {"lr": 0.1, "steps": [1], "velocity.0": np.ones(1)}),
    *_loaded("StepLR", Made(lambda d: optim.StepLR(_sgd.make(d), 3)), {"base_lr": 0.1, "last_step": 3}),
    *_loaded("GradScaler", _scaler, amp.GradScaler().state_dict()),
    call("StepLR", optim.StepLR, _sgd, 3, gamma=0.5),
    call("MultiStepLR", optim.MultiStepLR, _sgd, [3, 4], gamma=0.5),
    call("CosineAnnealingLR", optim.CosineAnnealingLR, _sgd, 3, eta_min=0.1),
    call("OneCycleLR", optim.OneCycleLR, _sgd, 0.1, 10, pct_start=0.3, anneal_strategy="cos", div_factor=25.0, final_div_factor=1e4),
    call("LinearWarmup", optim.LinearWarmup, _sgd, 3, after=None),
    call("GradScaler", amp.GradScaler, 4.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=3, enabled=True),
    call("scale", lambda s, x: s.scale(x), _scaler, t(), fixed=1),
    call("unscale_", lambda s, x: s.unscale_(x), _scaler, _sgd, fixed=1),
    call("step", lambda s, x: s.step(x), _scaler, _sgd, fixed=1),
    call("autocast", amp.autocast, "bfloat16", enabled=True),
    *(call(name, getattr(init, name), 2, 3, **_OPTIONS, requires_grad=True) for name in ("ones", "zeros")),
    call("rand", init.rand, 2, 3, low=0.0, high=1.0, **_OPTIONS, requires_grad=True, also="Tensor"),
    call("randn", init.randn, 2, 3, mean=0.0, std=1.0, **_OPTIONS, also="Tensor"),
    call("randb", init.randb, 2, 3, p=0.5, **_OPTIONS, also="Tensor"),
    call("constant", init.constant, 2, 3, c=1.0, **_OPTIONS),
    call("one_hot", init.one_hot, 3, indices, **_OPTIONS, requires_grad=True),
    call("ones_like", init.ones_like, t(2, 3), **_OPTIONS),
    call("zeros_like", init.zeros_like, t(2, 3), **_OPTIONS),
    *(call(name, getattr(init, name), 3, 4, gain=1.0, **_OPTIONS, also="rand randn Tensor") for name in ("xavier_uniform", "xavier_normal")),
    *(
        call(name, getattr(init, name), 3, 4, shape=(3, 4), nonlinearity="relu", **_OPTIONS, also="rand randn Tensor")
        for name in ("kaiming_uniform", "kaiming_normal")
    ),
    call("memory_stats", ndl.memory_stats, Made(lambda device: ndl.cpu())),
    call("reset_peak_memory", ndl.reset_peak_memory, Made(lambda device: ndl.cpu())),
    call("set_num_threads", ndl.set_num_threads, 1),
    call("set_float32_matmul_precision", ndl.set_float32_matmul_precision, "highest"),
    call("ProgressBar", lambda *args, **kwargs: ndl.ProgressBar(*args, **kwargs).close(), [1, 2], desc="x", unit="it",
         total=2, disable=False, leave=True, file=Made(lambda device: io.StringIO())),
    call("metrics", lambda value: _shown(value), 0.5),
    call("trange", lambda *args: ndl.trange(*args, file=io.StringIO()).close(), 3),
]  # fmt: skip


def _shown(value) -> None:
    bar = ndl.ProgressBar(total=1, file=io.StringIO())
    bar.metrics(loss=value)
    bar.close()


_images = np.zeros((4, 3, 8, 8), np.uint8)
_set = data.NDArrayDataset(np.arange(4), np.arange(4.0))
_FOLDER = "/nowhere/at/all"


def _refused(function):
    """`function`, whose DataError of a file that is not there is what is expected."""

    def run(*args, **kwargs):
        try:
            function(*args, **kwargs)
        except ndl.DataError:
            pass

    return run


DATA = [
    call("NDArrayDataset", data.NDArrayDataset, np.ones((3, 2)), [1, 2, 3]),
    call("NDArrayDataset", lambda index: _set[index], 1),
    call("ImageDataset", data.ImageDataset, _images, np.zeros(4, int), transforms=None),
    call("ImageDataset", lambda index: data.ImageDataset(_images, np.zeros(4, int))[index], 1),
    call("DataLoader", data.DataLoader, _set, 2, shuffle=True, device=the_device, dtype="float32", drop_last=True,
         num_workers=0, prefetch=2),
    call("DataLoader", lambda *args, **kwargs: next(iter(data.DataLoader(*args, **kwargs))), _set, 2, shuffle=False,
         dtype="float32", fixed=1),
    call("Dataset", data.Dataset, transforms=[data.RandomCrop(1)]),
    call("Compose", data.Compose, [data.RandomCrop(1)]),
    call("RandomCrop", data.RandomCrop, 1, layout="CHW"),
    call("RandomFlipHorizontal", data.RandomFlipHorizontal, 0.5, layout=None),
    call("Normalize", data.Normalize, (0.1, 0.2, 0.3), 1.0, layout="CHW"),
    *(
        call(type(transform).__name__, transform, np.zeros((3, 8, 8), np.float32))
        for transform in (data.RandomCrop(1), data.RandomFlipHorizontal(), data.Normalize(0.5, 0.5))
    ),
    call("batchify", data.batchify, np.arange(26), 4, device=None, dtype="float32"),
    call("get_batch", data.get_batch, data.batchify(np.arange(26), 4), 0, 3, device=the_device, dtype=None, also="Tensor"),
    call("add_word", lambda word: data.Dictionary().add_word(word), "word"),
    call("ids", lambda words: data.Dictionary().ids(words), [], also="dictionary"),
    call("SyntheticCIFAR10", data.SyntheticCIFAR10, 2, train=True, seed=0, transforms=None),
    call("SyntheticCorpus", data.SyntheticCorpus, 10, seed=0),
    call("Corpus", _refused(data.Corpus), _FOLDER, max_lines=3),
    call("MNISTDataset", _refused(data.MNISTDataset), _FOLDER, _FOLDER),
    call("CIFAR10Dataset", _refused(data.CIFAR10Dataset), _FOLDER, train=True),
]  # fmt: skip
