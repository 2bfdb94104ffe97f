// The kernels that oneDNN has, too, with the operands of the kernel table. Each returns whether it executed the call.
// If false, nothing was written: oneDNN does not support the call, or is slower than our kernel. A kernel throws
// Refused if the library rejects the call during execution.
#pragma once

#include "kernels/common/cpu_features.h"
#include "kernels/common/kernel_table.h"

namespace needle::cpu::libraries {

#define NEEDLE_DECLARE(name, parameters) bool name(Level level, NEEDLE_UNPACK parameters);
NEEDLE_ONEDNN_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

}  // namespace needle::cpu::libraries
