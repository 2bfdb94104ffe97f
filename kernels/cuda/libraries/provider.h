// Selects the provider of a kernel: our own (kernels/cuda/), or NVIDIA's libraries if they have it (this folder).
#pragma once

#include <cstdint>

#include "kernels/common/kernel_table.h"
#include "kernels/common/provider.h"

namespace needle::cuda::libraries {

// The default is automatic.
void set_provider(Provider provider);
Provider provider();

// Whether float32 products may round their operands to TF32, with 10 mantissa bits instead of 23. Off by default.
void allow_tf32(bool allowed);
bool allows_tf32();

// For each kernel that a library has, too, the total number of calls that the library executed.
enum class Kernel {
#define NEEDLE_NAME(name, parameters) name,
  NEEDLE_NVIDIA_KERNELS(NEEDLE_NAME)
#undef NEEDLE_NAME
};
int64_t num_calls(Kernel kernel);

// The property that, besides the amount of work, decides which provider is faster.
enum class ShapeClass {
  any,
  half,  // float16 and bfloat16, for which GPUs have dedicated units
};

// Whether a library is to execute a call. `work` is the number of multiply-adds, or of image elements if there are
// none.
bool is_chosen(Kernel kernel, DType dtype, int64_t work);

// Our kernel table, with the libraries' kernels where they are chosen.
const Kernels& kernels();

}  // namespace needle::cuda::libraries
