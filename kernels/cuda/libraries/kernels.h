// The kernels that NVIDIA's libraries have, too, with the operands of the kernel table. Each returns whether it
// executed the call. If false, our kernel does: the library does not support the dtypes or strides, or it is not chosen
// for that amount of work, or there is no memory for its workspace.
#pragma once

#include "kernels/common/kernel_table.h"

namespace needle::cuda::libraries {

#define NEEDLE_DECLARE(name, parameters) bool name parameters;
NEEDLE_NVIDIA_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

}  // namespace needle::cuda::libraries
