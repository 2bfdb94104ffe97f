// Runs the instructions of `fused` one by one, and `fused_sum` as a `fused` and a `sum`.
#include "kernels/common/fused.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {

void fused(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions) {
  run_one_by_one(kernels(), *device().pool, inputs, outputs, instructions);
}

void fused_sum(const ArrayList& inputs, const ArrayList& outputs, const Array& total, const Instructions& instructions,
               int64_t summed) {
  const FusedCall call(inputs, outputs, total, instructions, static_cast<int>(summed), device().pool);
  fused(inputs, call.outputs, call.instructions);
  sum(call.outputs[0], total);
}

}  // namespace needle::cuda
