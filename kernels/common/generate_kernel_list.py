"""Makes kernel_list.h of the kernel table: generate_kernel_list.py TABLE HEADER, where TABLE is kernel_table.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

CPP_TYPES = {
    "array": "const Array&",
    "arrays": "const ArrayList&",
    "float": "double",
    "int": "int64_t",
    "bool": "bool",
    "instructions": "const Instructions&",
}

HEADER = """\
// The kernel table in C++, generated from needle/backend_ndarray/kernel_table.py, which says what each kernel computes.
#pragma once

// KERNEL(name, (parameters), "name(operands): what it computes") for every kernel
{kernels}
// KERNEL(name, Operation, dtypes) for every element-wise kernel of one operand, and of two: `Operation` is a struct with a
// function `apply` of one element each, and `dtypes` is any, numbers, floating or boolean
{unary}
{binary}
// The same where the result is bool and the operands are not
{comparison}
// KERNEL(name, (parameters)) for every kernel that a library of another house provides as well
{onednn}
{nvidia}"""


def parameters(kernel) -> str:
    return "(" + ", ".join(f"{CPP_TYPES[operand.type]} {operand.name}" for operand in kernel.operands) + ")"


def documentation(kernel) -> str:
    names = ", ".join(operand.name for operand in kernel.operands)
    return f'"{kernel.name}({names}): {kernel.doc}"'


def element_wise(kernel) -> list[str]:
    """The arguments after the name."""
    operation = "".join(part.capitalize() for part in kernel.name.split("_"))
    return [operation, "boolean" if kernel.dtypes == "bool" else kernel.dtypes]


def is_element_wise(kernel, kind: str, operands: int) -> bool:
    """Whether it is a function of so many arrays and nothing else, all of one dtype."""
    all_are_arrays = all(operand.type == "array" for operand in kernel.operands)
    return kernel.kind == kind and all_are_arrays and len(kernel.operands) == operands + 1


def macro(name: str, kernels, arguments) -> str:
    """The definition of a macro that calls its argument for each of the kernels."""
    lines = [f"  KERNEL({', '.join([kernel.name, *arguments(kernel)])})" for kernel in kernels]
    return " \\\n".join([f"#define {name}(KERNEL)", *lines]) + "\n"


def header(kernels) -> str:
    return HEADER.format(
        kernels=macro("NEEDLE_KERNELS", kernels, lambda kernel: [parameters(kernel), documentation(kernel)]),
        unary=macro(
            "NEEDLE_UNARY_KERNELS", [k for k in kernels if is_element_wise(k, "element-wise", 1)], element_wise
        ),
        binary=macro(
            "NEEDLE_BINARY_KERNELS", [k for k in kernels if is_element_wise(k, "element-wise", 2)], element_wise
        ),
        comparison=macro(
            "NEEDLE_COMPARISON_KERNELS", [k for k in kernels if is_element_wise(k, "comparison", 2)], element_wise
        ),
        onednn=macro(
            "NEEDLE_ONEDNN_KERNELS", [k for k in kernels if "onednn" in k.libraries], lambda k: [parameters(k)]
        ),
        nvidia=macro(
            "NEEDLE_NVIDIA_KERNELS", [k for k in kernels if "nvidia" in k.libraries], lambda k: [parameters(k)]
        ),
    )


if __name__ == "__main__":
    table, target = sys.argv[1:]
    Path(target).write_text(header(list(runpy.run_path(table)["KERNELS"].values())), encoding="utf-8")
