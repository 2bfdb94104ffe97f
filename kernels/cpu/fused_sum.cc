// The kernel `fused_sum`: what is summed is computed chunk by chunk, as the sum asks for it.
#include "kernels/cpu/fused.h"
#include "kernels/cpu/reduce.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

bool is_dense(const Array& a) {
  const Array* arrays[] = {&a};
  const Plan plan(arrays, 1, kAllAxes);
  return plan.ndim == 1 && plan.stride[0][0] == itemsize(a.dtype);
}

bool sum_while_computing(const ArrayList& inputs, const FusedCall& call, const Array& total, bool has_memory) {
  const ArrayList outputs(call.outputs);
  const Array& summed = outputs[0];
  if (summed.size() == 0 || !is_dense(summed)) return false;
  const Steps steps(inputs, outputs, call.instructions);
  const Array* arrays[kMaxOperands];
  for (int64_t k = 0; k < outputs.count; ++k) arrays[k] = &outputs[k];
  for (int64_t k = 0; k < inputs.count; ++k) arrays[outputs.count + k] = &inputs[k];
  const ElementRanges ranges(run_steps, arrays, static_cast<int>(inputs.count + outputs.count),
                             static_cast<int>(outputs.count), &steps);
  return ranges.are_fast() &&
         sum_computed({ranges, has_memory ? first_byte(summed) : nullptr, steps.cost()}, summed, total);
}

}  // namespace

void fused_sum(const ArrayList& inputs, const ArrayList& outputs, const Array& total, const Instructions& instructions,
               int64_t register_number) {
  const int summed = static_cast<int>(register_number);
  const bool has_memory = summed < inputs.count + outputs.count;
  if (sum_while_computing(inputs, {inputs, outputs, total, instructions, summed, nullptr}, total, has_memory)) return;
  const FusedCall call(inputs, outputs, total, instructions, summed, &host_pool());
  fused(inputs, call.outputs, call.instructions);
  sum(call.outputs[0], total);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
