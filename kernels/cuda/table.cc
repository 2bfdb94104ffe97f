#include "kernels/cuda/kernels.h"

namespace needle::cuda {

const Kernels& kernels() {
#define NEEDLE_POINTER(name, parameters, documentation) &name,
  static const Kernels table = {NEEDLE_KERNELS(NEEDLE_POINTER)};
#undef NEEDLE_POINTER
  return table;
}

}  // namespace needle::cuda
