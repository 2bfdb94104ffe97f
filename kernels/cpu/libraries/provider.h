// Selects the provider of a kernel: our own (kernels/cpu/), oneDNN (this folder), or whichever is faster for the call.
#pragma once

#include <cstdint>

#include "kernels/common/provider.h"
#include "kernels/cpu/kernels.h"

// The kernel table names the kernels that oneDNN has, too. For the others, oneDNN has no equivalent, or its results
// differ from the table's definition (its max pooling loses NaN), or it is no faster.
namespace needle::cpu::libraries {

// The default is automatic.
void set_provider(Provider provider);
Provider provider();

// The kernel table of a level, with oneDNN's kernels where they are chosen. Our kernels are the fallback: for other
// dtypes and sizes, and for calls that the library refuses for any reason.
const Kernels& kernels(Level level);

enum class Kernel {
#define NEEDLE_NAME(name, parameters) name,
  NEEDLE_ONEDNN_KERNELS(NEEDLE_NAME)
#undef NEEDLE_NAME
};

// The total number of calls of a kernel that oneDNN executed.
int64_t num_calls(Kernel kernel);

// The property that, besides the amount of work, decides which provider is faster.
enum class ShapeClass {
  any,
  few_channels,  // images with fewer than 16 channels
  strided,       // a stride of more than one pixel
  thin,          // matrices with m, k or n below 32
  bfloat16,      // bfloat16 matrices that are not thin: some processors multiply bfloat16 in pairs
};

// Whether oneDNN is to execute a call. `work` is the number of multiply-adds, or of image elements if there are none.
bool is_chosen(Level level, Kernel kernel, ShapeClass shape_class, int64_t work);

}  // namespace needle::cpu::libraries
