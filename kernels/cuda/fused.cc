// Runs the instructions of `fused` one by one.
#include "kernels/common/fused.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {

void fused(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions) {
  run_one_by_one(kernels(), *device().pool, inputs, outputs, instructions);
}

}  // namespace needle::cuda
