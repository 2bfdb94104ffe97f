// Whole graphs of element-wise kernels, chunk by chunk: each chunk goes through all instructions while it is in the L1
// cache, by the loops of the separate kernels. So each element is computed by the same machine instructions.
#include "kernels/cpu/fused.h"

#include <algorithm>

#include "kernels/cpu/half.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kCacheBytes = 24576;  // of the L1 cache, 32 KiB or more, for a chunk of every slot
constexpr int64_t kSmallestChunk = 64;
// Bytes of an element as loops see it.
int64_t compute_size(DType dtype) { return is_half_dtype(dtype) ? sizeof(float) : itemsize(dtype); }

// Fills the output with the number that is the context.
template <class T>
void fill_loop(int64_t n, void* const* operands, const void* context) {
  std::fill_n(static_cast<T*>(operands[0]), n, *static_cast<const T*>(context));
}

// Rounds to a half type, in place, as storing to memory and loading again does.
template <class Half>
void round_loop(int64_t n, void* const* operands, const void*) {
  Half rounded[kChunk];
  auto* values = static_cast<float*>(operands[0]);
  convert(n, values, rounded);
  convert(n, rounded, values);
}

}  // namespace

Steps::Steps(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions)
    : inputs_(inputs),
      outputs_(outputs),
      instructions_(instructions),
      last_reads_(instructions),
      num_arrays_(static_cast<int>(inputs.count + outputs.count)) {
  int64_t bytes = 0;  // of an element in all slots
  for (int k = 0; k < num_arrays_; ++k) {
    const bool is_input = k < inputs.count;
    const Array& a = is_input ? inputs[k] : outputs[k - inputs.count];
    dtypes_[k] = a.dtype;
    slots_[k] = static_cast<int>(is_input ? k + outputs.count : k - inputs.count);
    array_sizes_[slots_[k]] = a.ndim == 0 ? 0 : compute_size(a.dtype);
    bytes += compute_size(a.dtype);
  }
  for (size_t i = 0; i < instructions.size(); ++i) add_instruction(static_cast<int>(i));
  for (int k = static_cast<int>(inputs.count); k < num_arrays_; ++k) {
    const int output = static_cast<int>(k - inputs.count);
    if (slots_[k] == output) continue;
    const DType bits = dtypes_[k] == DType::boolean ? DType::uint8 : dtypes_[k];
    const int slots[] = {output, slots_[k]};
    add(copy_loop_of(bits, bits).loop, slots, 2);
  }
  bytes += num_scratch_ * scratch_size_;
  chunk_ = std::clamp(kCacheBytes / bytes / kSmallestChunk * kSmallestChunk, kSmallestChunk, kChunk);
}

void Steps::add_instruction(int index) {
  const Instruction& instruction = instructions_[index];
  const int out = instruction.out;
  const CostedLoop run = loop_of(instruction);
  cost_ += run.cost;
  dtypes_[out] = result_dtype(instruction, dtypes_);
  int slots[4], numbers[3], num_numbers = 0;
  for (int j = 0; j < instruction.num_inputs; ++j) {
    slots[j + 1] = read_slot(instruction, j);
    if (slots[j + 1] != slots_[instruction.in[j]]) numbers[num_numbers++] = slots[j + 1];
  }
  // The result may take the place of an operand that is not read again, if its elements have the same size.
  const auto release_operands = [&](bool before) {
    for (int j = 0; j < instruction.num_inputs; ++j) {
      const int k = instruction.in[j];
      const bool has_size_of_out = compute_size(dtypes_[k]) == compute_size(dtypes_[out]);
      const bool is_first = std::find(instruction.in, instruction.in + j, k) == instruction.in + j;
      if (is_temporary(k) && last_reads_.index[k] == index && has_size_of_out == before && is_first) release(slots_[k]);
    }
  };
  release_operands(true);
  if (is_temporary(out) || must_wait(inputs_, outputs_, instructions_, last_reads_, index)) {
    slots_[out] = new_scratch();
    scratch_size_ = std::max(scratch_size_, compute_size(dtypes_[out]));
  }
  release_operands(false);
  for (int i = 0; i < num_numbers; ++i) release(numbers[i]);
  slots[0] = slots_[out];
  add(run.loop, slots, instruction.num_inputs + 1);
  const bool is_read = last_reads_.index[out] >= 0;
  if (is_read && dtypes_[out] == DType::float16) add(round_loop<float16>, slots, 1);
  if (is_read && dtypes_[out] == DType::bfloat16) add(round_loop<bfloat16>, slots, 1);
  if (is_temporary(out) && !is_read) release(slots_[out]);
}

CostedLoop Steps::loop_of(const Instruction& instruction) const {
  const int first = instruction.in[0], second = instruction.in[1];
  switch (instruction.kernel) {
    case ElementKernel::copy: {
      const bool is_half_number = first < inputs_.count && inputs_[first].is_half_scalar();
      return copy_loop_of(is_half_number ? DType::float64 : dtypes_[first], instruction.dtype);
    }
    case ElementKernel::where: return where_loop_of(dtypes_[second]);
    case ElementKernel::power: {
      CostedLoop run;
      if (second < inputs_.count)
        run = power_loop_of(inputs_[second]);
      else if (outputs_[0].ndim == 0)
        run = single_power_loop_of(dtypes_[second]);
      return run.loop ? run : binary_loop_of(instruction.kernel, dtypes_[first]);
    }
    default: break;
  }
  if (instruction.num_inputs == 1) return unary_loop_of(instruction.kernel, dtypes_[first]);
  const CostedLoop run = binary_loop_of(instruction.kernel, dtypes_[first]);
  return run.loop ? run : comparison_loop_of(instruction.kernel, dtypes_[first]);
}

int Steps::read_slot(const Instruction& instruction, int operand) {
  const int k = instruction.in[operand];
  const bool is_copy = instruction.kernel == ElementKernel::copy;
  if (!(is_copy || instruction.kernel == ElementKernel::where) || k >= inputs_.count || !inputs_[k].is_half_scalar())
    return slots_[k];
  double* number = &numbers_[num_numbers_++];
  if (is_copy)
    *number = *inputs_[k].data<double>();
  else
    *reinterpret_cast<float*>(number) = static_cast<float>(*inputs_[k].rounded_scalar().data<double>());
  const int slot = new_scratch();
  scratch_size_ = std::max<int64_t>(scratch_size_, is_copy ? sizeof(double) : sizeof(float));
  add(is_copy ? fill_loop<double> : fill_loop<float>, &slot, 1, number);
  return slot;
}

int Steps::new_scratch() { return num_free_ > 0 ? free_[--num_free_] : num_arrays_ + num_scratch_++; }

void Steps::add(Loop loop, const int* slots, int num_slots, const void* context) {
  Step& step = steps_[num_steps_++];
  step = {loop, context, num_slots, {}};
  std::copy_n(slots, num_slots, step.slots);
}

void Steps::run(int64_t n, void* const* arrays) const {
  alignas(64) std::byte scratch[std::max(kMostScratch * kSmallestChunk * int64_t{sizeof(double)}, kCacheBytes)];
  std::byte* slots[kMaxOperands + kMostScratch];
  for (int k = 0; k < num_arrays_; ++k) slots[k] = static_cast<std::byte*>(arrays[k]);
  for (int k = 0; k < num_scratch_; ++k) slots[num_arrays_ + k] = scratch + k * chunk_ * scratch_size_;
  for (int64_t begin = 0; begin < n; begin += chunk_) {
    const int64_t count = std::min(chunk_, n - begin);
    for (const Step* step = steps_; step != steps_ + num_steps_; ++step) {
      void* operands[4];
      for (int j = 0; j < step->num_slots; ++j) operands[j] = slots[step->slots[j]];
      step->loop(count, operands, step->context);
    }
    for (int k = 0; k < num_arrays_; ++k) slots[k] += count * array_sizes_[k];
  }
}

void run_steps(int64_t n, void* const* operands, const void* context) {
  static_cast<const Steps*>(context)->run(n, operands);
}

void fused(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions) {
  const Steps steps(inputs, outputs, instructions);
  const Array* arrays[kMaxOperands];
  for (int64_t k = 0; k < outputs.count; ++k) arrays[k] = &outputs[k];
  for (int64_t k = 0; k < inputs.count; ++k) arrays[outputs.count + k] = &inputs[k];
  elementwise(run_steps, arrays, static_cast<int>(inputs.count + outputs.count), steps.cost(),
              static_cast<int>(outputs.count), /*update=*/false, &steps);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
