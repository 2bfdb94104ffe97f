"""The kernel table and what is written by hand or generated beside it."""

from __future__ import annotations

import inspect

import pytest

from needle.backend_ndarray import backend_numpy
from needle.backend_ndarray.kernel_table import KERNELS

KINDS = {
    "copy", "element-wise", "comparison", "reduction", "product", "convolution", "pooling", "normalization", "softmax",
    "recurrent", "indexing", "random", "optimizer",
}  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)
def test_every_line_is_complete(kernel):
    assert kernel.kind in KINDS and kernel.dtypes in ("any", "numbers", "floating", "bool") and kernel.doc
    assert set(kernel.libraries) <= {"onednn", "nvidia"}
    assert any(operand.is_written for operand in kernel.operands)
    for operand in kernel.operands:
        assert operand.name.isidentifier() and operand.type in (
            "array", "arrays", "float", "int", "bool", "instructions"
        )  # fmt: skip
        assert operand.is_read or operand.is_written
        assert "array" in operand.type or not operand.is_written


def test_operands_are_read_from_the_arrows():
    lstm = {operand.name: (operand.is_read, operand.is_written) for operand in KERNELS["lstm"].operands}
    assert lstm == {
        "gates": (True, True), "W_hh": (True, False), "bias": (True, False), "hidden": (True, True), "cells": (True, True)
    }  # fmt: skip
    norm = KERNELS["batch_norm"].operands
    assert [operand.name for operand in norm] == "x weight bias running out mean variance eps momentum relu".split()
    assert [operand.name for operand in norm if operand.is_written] == ["running", "out", "mean", "variance"]
    assert [operand.type for operand in norm] == [*["array"] * 3, "arrays", *["array"] * 3, "float", "float", "bool"]
    assert KERNELS["sgd_step"].operands[0] == ("parameters", "arrays", True, True)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)
def test_the_reference_takes_these_operands(kernel):
    parameters = inspect.signature(getattr(backend_numpy, kernel.name)).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):  # made of a function of the inputs
        assert [operand.type for operand in kernel.operands] == ["array"] * len(kernel.operands)
        assert [operand.is_written for operand in kernel.operands] == [False] * (len(kernel.operands) - 1) + [True]
    else:
        assert [parameter.name for parameter in parameters] == [operand.name for operand in kernel.operands]


def test_compiled_backends_say_what_they_take(device):
    for name, kernel in KERNELS.items():
        if not inspect.isfunction(getattr(device.kernels, name)):  # one in Python says it by its signature
            operands = ", ".join(operand.name for operand in kernel.operands)
            assert getattr(device.kernels, name).__doc__ == f"{name}({operands}): {kernel.doc}"
