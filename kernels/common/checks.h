// One function per kernel that checks the operands of a call: dtypes, shapes and settings, never elements. The Python
// bindings call it before the kernel of any backend, so that no kernel checks these again.
//
// A function throws DTypeError or ShapeError, with a message that names the kernel, what it met and what it expected.
#pragma once

#include "kernels/common/kernel_table.h"

namespace needle::check {

#define NEEDLE_DECLARE(name, parameters, documentation) void name parameters;
NEEDLE_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

// Those of `sum`, for a kernel `op` that adds numbers up as well.
void check_sum(const char* op, const Array& a, const Array& out);

}  // namespace needle::check
