// The CPU's kernel tables: one per instruction level, all compiled from the same source.
#pragma once

#include "kernels/common/cpu_features.h"
#include "kernels/common/kernel_table.h"

namespace needle::cpu {

// The table for a level that this processor supports.
const Kernels& kernels(Level level);

#ifdef NEEDLE_LEVEL
namespace NEEDLE_LEVEL {
#define NEEDLE_DECLARE(name, parameters, documentation) void name parameters;
NEEDLE_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE
}  // namespace NEEDLE_LEVEL
#endif

}  // namespace needle::cpu
