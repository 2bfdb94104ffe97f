// Checks of the kernels `fused` and `fused_sum`: their arrays, and each instruction by the checks of the kernel that it
// applies.
#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/common/fused.h"
#include "kernels/common/plan.h"

namespace needle::check {
namespace {

static_assert(kMostRegisters == kMostInstructions + kMaxOperands);

#define NEEDLE_POINTER(name, parameters, documentation) &name,
constexpr Kernels checks = {NEEDLE_KERNELS(NEEDLE_POINTER)};
#undef NEEDLE_POINTER

void check_arrays(const char* op, const ArrayList& inputs, const ArrayList& outputs) {
  if (outputs.count == 0) throw ShapeError(message(op, ": no outputs, expected one or more"));
  for (const Array& out : outputs) {
    if (!out.buffer) throw ShapeError(message(op, ": an output is a number, expected an array"));
    check_same_shape(op, {"an output", out}, {"the first one", outputs[0]});
  }
  for (const Array& a : inputs) check_broadcast(op, {"an input", a}, {"the first output", outputs[0]});
}

void check_limits(const char* op, int64_t arrays, const Instructions& instructions) {
  if (arrays > kMaxOperands)
    throw ShapeError(message(op, ": ", arrays, " arrays and numbers, expected at most ", kMaxOperands));
  if (instructions.size() > kMostInstructions)
    throw ShapeError(message(op, ": ", instructions.size(), " instructions, expected at most ", kMostInstructions));
}

// Checks the dtypes of one instruction. A number has a dtype and fits every shape.
void check_dtypes(const Instruction& instruction, const DType* registers, DType out_dtype) {
  Array operands[4] = {Array::scalar(int64_t{0}, out_dtype), Array::scalar(int64_t{0}, out_dtype),
                       Array::scalar(int64_t{0}, out_dtype), Array::scalar(int64_t{0}, out_dtype)};
  const Array* in[3];
  for (int j = 0; j < instruction.num_inputs; ++j) {
    operands[j] = Array::scalar(int64_t{0}, registers[instruction.in[j]]);
    in[j] = &operands[j];
  }
  call(checks, instruction, in, operands[3]);
}

void check_call(const char* op, const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions) {
  check_arrays(op, inputs, outputs);
  const int num_inputs = static_cast<int>(inputs.count), num_arrays = num_inputs + static_cast<int>(outputs.count);
  DType dtypes[kMostRegisters] = {};
  bool is_written[kMostRegisters] = {};
  for (int k = 0; k < num_inputs; ++k) {
    dtypes[k] = inputs[k].dtype;
    is_written[k] = true;
  }
  for (size_t i = 0; i < instructions.size(); ++i) {
    const Instruction& instruction = instructions[i];
    for (int j = 0; j < instruction.num_inputs; ++j)
      if (!is_written[instruction.in[j]])
        throw ShapeError(message(op, ": instruction ", i, " reads register ", instruction.in[j],
                                 ", expected one that was written before"));
    const int out = instruction.out;
    if (is_written[out])
      throw ShapeError(message(op, ": instruction ", i, " writes register ", out, ", expected one that is ",
                               out < num_inputs ? "no input" : "not written yet"));
    const DType result = result_dtype(instruction, dtypes);
    dtypes[out] = out < num_arrays ? outputs[out - num_inputs].dtype : result;
    is_written[out] = true;
    try {
      if (dtypes[out] != result) throw DTypeError(message("out is ", name(dtypes[out]), ", expected ", name(result)));
      check_dtypes(instruction, dtypes, result);
    } catch (const DTypeError& error) {
      throw DTypeError(message(op, ": instruction ", i, ": ", error.what()));
    }
  }
  for (int k = num_inputs; k < num_arrays; ++k)
    if (!is_written[k]) throw ShapeError(message(op, ": no instruction writes output ", k - num_inputs));
}

}  // namespace

void fused(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions) {
  check_limits("fused", inputs.count + outputs.count, instructions);
  check_call("fused", inputs, outputs, instructions);
}

void fused_sum(const ArrayList& inputs, const ArrayList& outputs, const Array& total, const Instructions& instructions,
               int64_t summed) {
  check_limits("fused_sum", inputs.count + outputs.count + 1, instructions);
  const auto writes_it = [&](const Instruction& instruction) { return instruction.out == summed; };
  if (summed < inputs.count || std::none_of(instructions.begin(), instructions.end(), writes_it))
    throw ShapeError(message("fused_sum: register ", summed, " is summed, expected one that an instruction writes"));
  const FusedCall call(inputs, outputs, total, instructions, static_cast<int>(summed), nullptr);
  check_call("fused_sum", inputs, call.outputs, call.instructions);
  check_sum("fused_sum", call.outputs[0], total);
}

}  // namespace needle::check
