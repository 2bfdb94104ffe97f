"""Gradients against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from needle import ops
from needle.autograd import Tensor, gradients
from needle.backend_ndarray import Device

STEP = 1e-6


def central_differences(f: Callable[..., float], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """d f / d array for each array: (f(x + h) - f(x - h)) / 2h, element by element."""
    result = []
    for array in arrays:
        grad = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            before = array[index]
            array[index] = before + STEP
            above = f(*arrays)
            array[index] = before - STEP
            grad[index] = (above - f(*arrays)) / (2 * STEP)
            array[index] = before
        result.append(grad)
    return result


def check_gradients(
    function: Callable[..., Tensor], arrays: Sequence[np.ndarray], device: Device, order: int = 2, rtol: float = 1e-5
) -> None:
    """Holds the gradients of `function`, and the gradients of a weighted sum of those, against central differences.

    The weights are random, so that no error cancels in the sum.
    """
    arrays = [np.array(array, np.float64) for array in arrays]
    generator = np.random.default_rng(0)

    def leaves(values):
        return [Tensor(value, device=device, dtype="float64") for value in values]

    def weighted_sum(tensor: Tensor, weights: np.ndarray) -> Tensor:
        return ops.sum(tensor * Tensor(weights, device=device, dtype="float64", requires_grad=False))

    def compare(scalar: Callable[..., Tensor], tolerance: float) -> list[np.ndarray]:
        inputs = leaves(arrays)
        found = gradients(scalar(*inputs), inputs)
        actual = [np.zeros_like(a) if g is None else g.numpy() for a, g in zip(arrays, found)]
        expected = central_differences(lambda *values: scalar(*leaves(values)).item(), arrays)
        for a, e in zip(actual, expected):
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * max(1.0, np.abs(e).max(initial=0)))
        return actual

    weights = generator.normal(size=function(*leaves(arrays)).shape)

    def first(*inputs: Tensor) -> Tensor:
        return weighted_sum(function(*inputs), weights)

    grads = compare(first, rtol)

    # The way a training step takes: nothing recorded, backward kernels of fused operations, memory freed.
    inputs = leaves(arrays)
    first(*inputs).backward(create_graph=False)
    for tensor, grad in zip(inputs, grads):
        met = np.zeros_like(grad) if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(met, grad, rtol=1e-8, atol=1e-8 * max(1.0, np.abs(grad).max(initial=0)))

    if order == 2:
        weights_2 = [generator.normal(size=array.shape) for array in arrays]

        def second(*inputs: Tensor) -> Tensor:
            found = gradients(first(*inputs), inputs)
            terms = [weighted_sum(g, w) for g, w in zip(found, weights_2) if g is not None and g.requires_grad]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total

        inputs = leaves(arrays)
        if any(g is not None and g.requires_grad for g in gradients(first(*inputs), inputs)):
            compare(second, 20 * rtol)
