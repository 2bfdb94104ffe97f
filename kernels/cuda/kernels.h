// The kernel table of the GPU. needle/backend_ndarray/kernel_table.py says what each kernel computes.
#pragma once

#include "kernels/common/kernel_table.h"

namespace needle::cuda {

#define NEEDLE_DECLARE(name, parameters, documentation) void name parameters;
NEEDLE_KERNELS(NEEDLE_DECLARE)
#undef NEEDLE_DECLARE

// The kernels work on the device that the thread has selected with use_device.
const Kernels& kernels();

}  // namespace needle::cuda
