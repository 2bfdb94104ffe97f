// Who provides a kernel: we (kernels/cuda/), or NVIDIA's libraries where they have it (this folder).
#pragma once

#include <cstdint>

#include "kernels/common/kernel_table.h"

namespace needle::cuda::libraries {

// One setting for all threads. `library` takes the libraries for every call that they can do, `automatic` for those that
// choice_table.inc names.
enum class Provider { native, library, automatic };
void set_provider(Provider provider);
Provider provider();

// Whether float32 products may round their operands to TF32, with 10 bits of mantissa for 23; not unless set.
void allow_tf32(bool allowed);
bool allows_tf32();

// Calls of each kernel that a library has, too, which it did, in all.
enum class Kernel {
#define NEEDLE_NAME(name, parameters) name,
  NEEDLE_NVIDIA_KERNELS(NEEDLE_NAME)
#undef NEEDLE_NAME
};
int64_t num_calls(Kernel kernel);

// What, besides the amount of work, decides who is faster.
enum class ShapeClass {
  any,
  half,  // float16 and bfloat16, for which GPUs have units of their own
};

// Whether a call is a library's. `work` counts multiply-adds, or elements of images where there are none.
bool is_chosen(Kernel kernel, DType dtype, int64_t work);

// Our kernel table, with the libraries' kernels where they are chosen.
const Kernels& kernels();

}  // namespace needle::cuda::libraries
