// The kernel table: every kernel of a backend. needle/backend_ndarray/kernel_table.py lists the kernels, documents each
// and states the rules that all follow; kernel_list.h is generated from it.
#pragma once

#include <cstdint>

#include "kernels/common/array.h"
#include "kernels/common/instructions.h"
#include "kernels/common/kernel_list.h"

// Appends a kernel's parameters to others: void f(int level, NEEDLE_UNPACK parameters)
#define NEEDLE_UNPACK(...) __VA_ARGS__

namespace needle {

// One function pointer per kernel. Each backend has one table; the CPU backend has one per instruction level. Kernels
// do not check dtypes and shapes: their callers do, with the function of the same name in checks.h. What only a kernel
// can know it checks itself: indices that it reads, and limits of its device.
struct Kernels {
#define NEEDLE_FIELD(name, parameters, documentation) void(*name) parameters;
  NEEDLE_KERNELS(NEEDLE_FIELD)
#undef NEEDLE_FIELD
};

}  // namespace needle
