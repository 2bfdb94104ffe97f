// Who provides a kernel: we (kernels/cpu/), oneDNN (this folder), or whichever is faster for the call.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

// The kernels that oneDNN has, too, are named in the kernel table. The others it lacks, or does otherwise than the table
// says (its max pooling loses NaN), or is no faster at.
namespace needle::dnnl {

enum class Provider { native, onednn, automatic };

// One setting for all threads, automatic until set. `onednn` takes oneDNN for every call that it can do.
void set_provider(Provider provider);
Provider provider();

// The kernel table of a level, with oneDNN's kernels where they are chosen. What oneDNN cannot do, ours does: other
// dtypes and sizes, what the library refuses for whatever reason, and calls that are wrong, which our kernels refuse
// with an error that says why.
const Kernels& kernels(Level level);

enum class Kernel {
#define NEEDLE_NAME(name, parameters) name,
  NEEDLE_ONEDNN_KERNELS(NEEDLE_NAME)
#undef NEEDLE_NAME
};

// Calls of a kernel that oneDNN did, in all.
int64_t num_calls(Kernel kernel);

// What, besides the amount of work, decides who is faster.
enum class ShapeClass {
  any,
  few_channels,  // images with fewer than 16
  strided,       // windows more than one pixel apart
  thin,          // matrices with fewer than 32 rows, columns or numbers in a sum
  bfloat16,      // matrices of these numbers, not thin ones: some processors multiply them in pairs
};

// Whether a call is oneDNN's. `work` counts multiply-adds, or elements of images where there are none.
bool is_chosen(Level level, Kernel kernel, ShapeClass shape_class, int64_t work);

}  // namespace needle::dnnl
