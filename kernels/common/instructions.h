// The instructions of the kernel `fused`: element-wise kernels that are applied to registers.
//
// A register holds one element at each position. The first registers are the inputs, the next ones the outputs, and the
// rest temporaries, which no array holds. Every register but an input is written by one instruction, before others read
// it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/dtype.h"
#include "kernels/common/kernel_list.h"

namespace needle {

// The kernels that can be an instruction.
#define NEEDLE_NAME(name, Operation, dtypes) name,
enum class ElementKernel : uint8_t {
  copy,
  where,
  NEEDLE_UNARY_KERNELS(NEEDLE_NAME) NEEDLE_BINARY_KERNELS(NEEDLE_NAME) NEEDLE_COMPARISON_KERNELS(NEEDLE_NAME)
};
#undef NEEDLE_NAME

inline constexpr int kMostInstructions = 64;
inline constexpr int kMostRegisters = kMostInstructions + 16;  // 16 arrays: kMaxOperands in plan.h

struct Instruction {
  ElementKernel kernel;
  int num_inputs;
  int out, in[3];  // registers, from 0 to kMostRegisters - 1
  DType dtype;     // of the result of `copy`
};

using Instructions = std::vector<Instruction>;

}  // namespace needle
