// The kernel table: every kernel that a backend has. needle/backend_ndarray/kernel_table.py lists them, with what each
// computes and the rules for all; kernel_list.h is generated from it.
#pragma once

#include <cstdint>

#include "kernels/common/array.h"
#include "kernels/common/kernel_list.h"

// The parameters of a kernel behind others: void f(int level, NEEDLE_UNPACK parameters)
#define NEEDLE_UNPACK(...) __VA_ARGS__

namespace needle {

// One pointer per kernel. A backend has a table, that of the CPU one for each instruction level.
struct Kernels {
#define NEEDLE_FIELD(name, parameters, documentation) void(*name) parameters;
  NEEDLE_KERNELS(NEEDLE_FIELD)
#undef NEEDLE_FIELD
};

}  // namespace needle
