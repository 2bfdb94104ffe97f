// Who provides a kernel: we (kernels/cuda/), or NVIDIA's libraries where they have it (this folder).
#pragma once

#include <cstdint>

#include "kernels/common/kernel_table.h"

// KERNEL(name) for every kernel that a library has, too.
#define NEEDLE_CUDA_LIBRARY_KERNELS(KERNEL)  \
  KERNEL(matmul)                             \
  KERNEL(linear)                             \
  KERNEL(conv2d)                             \
  KERNEL(conv2d_bias)                        \
  KERNEL(conv2d_backward_data)               \
  KERNEL(conv2d_backward_weight)             \
  KERNEL(max_pool2d)                         \
  KERNEL(avg_pool2d)                         \
  KERNEL(avg_pool2d_backward)

namespace needle::cuda::libraries {

// One setting for all threads. `library` takes the libraries for every call that they can do, `automatic` for those that
// choice_table.inc names.
enum class Provider { native, library, automatic };
void set_provider(Provider provider);
Provider provider();

// Whether float32 products may round their operands to TF32, with 10 bits of mantissa for 23; not unless set.
void allow_tf32(bool allowed);
bool allows_tf32();

// Calls of each of NEEDLE_CUDA_LIBRARY_KERNELS that a library did, in all.
enum class Kernel {
#define NEEDLE_CUDA_LIBRARY_NAME(name) name,
  NEEDLE_CUDA_LIBRARY_KERNELS(NEEDLE_CUDA_LIBRARY_NAME)
#undef NEEDLE_CUDA_LIBRARY_NAME
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
