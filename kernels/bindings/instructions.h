// Converts the instructions of the kernel `fused` from Python.
#pragma once

#include <pybind11/pybind11.h>

#include "kernels/common/instructions.h"

namespace needle::bindings {

// The instructions in a tuple of tuples: kernel_table.py. Registers are checked only as far as an Instruction can hold
// them; the kernel's checks do the rest. `op` is for error messages.
Instructions instructions_from(const char* op, PyObject* object);

}  // namespace needle::bindings
