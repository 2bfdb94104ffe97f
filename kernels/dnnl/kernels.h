// The kernels that oneDNN has, too, with the operands of the kernel table. Each says whether it did the call. If not,
// nothing was written: oneDNN cannot do it, or not as fast as we can, or the call is wrong. One that the library refuses
// on the way throws Refused.
#pragma once

#include "kernels/common/cpu_features.h"
#include "kernels/common/kernel_table.h"

namespace needle::dnnl {

#define NEEDLE_DECLARE(name, parameters) bool name(Level level, NEEDLE_UNPACK parameters);
NEEDLE_ONEDNN_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

}  // namespace needle::dnnl
