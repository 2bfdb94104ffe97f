#include "kernels/common/fused.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/common/plan.h"

namespace needle {

DType result_dtype(const Instruction& instruction, const DType* registers) {
  switch (instruction.kernel) {
    case ElementKernel::copy: return instruction.dtype;
    case ElementKernel::where: return registers[instruction.in[1]];
#define NEEDLE_CASE(name, Operation, dtypes) case ElementKernel::name:
      NEEDLE_COMPARISON_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
      return DType::boolean;
    default: return registers[instruction.in[0]];
  }
}

LastReads::LastReads(const Instructions& instructions) {
  std::fill_n(index, kMostRegisters, -1);
  for (size_t i = 0; i < instructions.size(); ++i)
    for (int j = 0; j < instructions[i].num_inputs; ++j) index[instructions[i].in[j]] = static_cast<int>(i);
}

bool must_wait(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions,
               const LastReads& last_reads, int index) {
  const Array& out = outputs[instructions[index].out - inputs.count];
  for (int64_t k = 0; k < inputs.count; ++k)
    if (last_reads.index[k] > index && inputs[k].buffer && first_byte(inputs[k]) == first_byte(out)) return true;
  return false;
}

void call(const Kernels& kernels, const Instruction& instruction, const Array* const* in, const Array& out) {
  switch (instruction.kernel) {
    case ElementKernel::copy: return kernels.copy(*in[0], out);
    case ElementKernel::where: return kernels.where(*in[0], *in[1], *in[2], out);
#define NEEDLE_CASE(name, Operation, dtypes) \
  case ElementKernel::name: return kernels.name(*in[0], out);
      NEEDLE_UNARY_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
#define NEEDLE_CASE(name, Operation, dtypes) \
  case ElementKernel::name: return kernels.name(*in[0], *in[1], out);
      NEEDLE_BINARY_KERNELS(NEEDLE_CASE)
      NEEDLE_COMPARISON_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
  }
}

void run_one_by_one(const Kernels& kernels, MemoryPool& pool, const ArrayList& inputs, const ArrayList& outputs,
                    const Instructions& instructions) {
  const LastReads last_reads(instructions);
  const int64_t num_arrays = inputs.count + outputs.count;
  std::vector<std::optional<Array>> registers(kMostRegisters);
  DType dtypes[kMostRegisters];
  for (int64_t k = 0; k < num_arrays; ++k) {
    registers[k] = k < inputs.count ? inputs[k] : outputs[k - inputs.count];
    dtypes[k] = registers[k]->dtype;
  }
  const auto is_output = [&](int k) { return k >= inputs.count && k < num_arrays; };
  for (size_t i = 0; i < instructions.size(); ++i) {
    const Instruction& instruction = instructions[i];
    const int out = instruction.out;
    if (!is_output(out) || must_wait(inputs, outputs, instructions, last_reads, static_cast<int>(i))) {
      dtypes[out] = result_dtype(instruction, dtypes);
      registers[out] = Array::compact(dtypes[out], outputs[0].ndim, outputs[0].shape, pool);
    }
    const Array* in[3];
    for (int j = 0; j < instruction.num_inputs; ++j) in[j] = &*registers[instruction.in[j]];
    call(kernels, instruction, in, *registers[out]);
    for (int j = 0; j < instruction.num_inputs; ++j) {
      const int k = instruction.in[j];
      if (k >= num_arrays && last_reads.index[k] == static_cast<int>(i)) registers[k].reset();
    }
  }
  for (int64_t k = inputs.count; k < num_arrays; ++k) {
    const Array& out = outputs[k - inputs.count];
    if (first_byte(*registers[k]) != first_byte(out)) kernels.copy(*registers[k], out);
  }
}

namespace {

BufferPtr no_memory() {
  static std::byte nothing;
  static const auto buffer = std::make_shared<Buffer>(&nothing, std::numeric_limits<int64_t>::max(), [] {});
  return buffer;
}

// An array of the shape that all arrays of a `fused_sum` have but its total.
const Array& array_of_its_shape(const ArrayList& inputs, const ArrayList& outputs, const Array& total) {
  if (outputs.count > 0) return outputs[0];
  const Array* found = std::find_if(inputs.begin(), inputs.end(), [](const Array& a) { return a.ndim > 0; });
  return found == inputs.end() ? total : *found;
}

}  // namespace

FusedCall::FusedCall(const ArrayList& inputs, const ArrayList& given, const Array& total,
                     const Instructions& given_instructions, int summed, MemoryPool* pool)
    : instructions(given_instructions) {
  const int num_inputs = static_cast<int>(inputs.count), num_arrays = num_inputs + static_cast<int>(given.count);
  if (summed < num_arrays) {
    outputs.push_back(given[summed - num_inputs]);
  } else {
    DType dtypes[kMostRegisters] = {};
    for (int k = 0; k < num_inputs; ++k) dtypes[k] = inputs[k].dtype;
    for (const Instruction& instruction : instructions) dtypes[instruction.out] = result_dtype(instruction, dtypes);
    const Array& like = array_of_its_shape(inputs, given, total);
    if (pool)
      outputs.push_back(Array::compact(dtypes[summed], like.ndim, like.shape, *pool));
    else
      outputs.emplace_back(no_memory(), dtypes[summed], like.ndim, like.shape, compact_strides(like.ndim, like.shape),
                           0);
  }
  for (int k = num_inputs; k < num_arrays; ++k)
    if (k != summed) outputs.push_back(given[k - num_inputs]);
  const auto moved = [&](int k) { return k == summed ? num_inputs : k >= num_inputs && k < summed ? k + 1 : k; };
  for (Instruction& instruction : instructions) {
    instruction.out = moved(instruction.out);
    for (int& k : instruction.in) k = moved(k);
  }
}

}  // namespace needle
