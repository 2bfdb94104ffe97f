// The kernels that NVIDIA's libraries have, too, with the operands of the kernel table. Each says whether it
// did the call. If not, ours does it: the dtypes or strides are none of the library's, it is not chosen for as much work,
// there is no memory for what it needs beside the operands, or the call is wrong, which our kernel refuses.
#pragma once

#include "kernels/common/kernel_table.h"

namespace needle::cuda::libraries {

#define NEEDLE_DECLARE(name, parameters) bool name parameters;
NEEDLE_NVIDIA_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

}  // namespace needle::cuda::libraries
