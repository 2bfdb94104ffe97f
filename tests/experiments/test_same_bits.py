"""What a resumed run rests on: with our own kernels a step of the programs' models does not depend on the threads."""

import contextlib

import numpy as np
import pytest

import needle as ndl
from experiments.models.language_model import SEQUENCE_MODELS, LanguageModel
from experiments.models.resnet9 import ResNet9
from needle import Tensor, cpu, nn, optim

THREADS = (1, 2, 3, 7)


@pytest.fixture(autouse=True)
def kernels():
    """Our own kernels; the settings are put back."""
    kernels = cpu().kernels
    threads, provider = kernels.get_num_threads(), kernels.provider()
    kernels.set_provider("native")
    yield kernels
    kernels.set_num_threads(threads)
    kernels.set_provider(provider)


def constants(*arrays):
    return [Tensor(array, device=cpu(), requires_grad=False) for array in arrays]


def image_model():
    images, labels = constants(np.random.randn(24, 3, 32, 32), np.random.randint(10, size=24))
    return ResNet9(device=cpu()), lambda model: nn.SoftmaxLoss()(model(images), labels)


def language_model(seq_model):
    words, targets = constants(np.random.randint(2000, size=(20, 20)), np.random.randint(2000, size=400))
    model = LanguageModel(2000, 96, 2, seq_model=seq_model, dropout=0.1, device=cpu())
    return model, lambda model: nn.SoftmaxLoss()(model(words)[0], targets)


MODELS = {"resnet9": image_model}
MODELS |= {name: lambda name=name: language_model(name) for name in SEQUENCE_MODELS}


def trained(make, precision) -> dict[str, bytes]:
    """Parameters and buffers after two steps of Adam and two of SGD with a clipped gradient."""
    ndl.manual_seed(0)
    model, loss_of = make()
    for optimizer in (optim.Adam(model.parameters(), lr=1e-3), optim.SGD(model.parameters(), lr=0.1, momentum=0.9)):
        for _ in range(2):
            optimizer.reset_grad()
            with contextlib.nullcontext() if precision == "float32" else ndl.autocast(precision):
                loss = loss_of(model)
            loss.backward()
            optimizer.clip_grad_norm(1.0)
            optimizer.step()
    return {name: values.tobytes() for name, values in model.state_dict().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_threads_gives_the_same_bits(name, precision, kernels):
    results = []
    for threads in THREADS:
        kernels.set_num_threads(threads)
        results.append(trained(MODELS[name], precision))
    for threads, result in zip(THREADS, results):
        differing = [key for key, bits in result.items() if bits != results[0][key]]
        assert not differing, f"{threads} threads: {differing}"
