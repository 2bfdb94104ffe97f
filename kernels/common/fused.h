// What the implementations of the kernels `fused` and `fused_sum` share.
#pragma once

#include <vector>

#include "kernels/common/kernel_table.h"

namespace needle {

// The dtype of what an instruction writes: that of its operands, bool for a comparison. `registers` has the dtypes of
// the registers that it reads.
DType result_dtype(const Instruction& instruction, const DType* registers);

// For each register the index of the last instruction that reads it, or -1.
struct LastReads {
  int index[kMostRegisters];

  explicit LastReads(const Instructions& instructions);
};

// Whether the output that instruction `index` writes must not be stored before all instructions are done, because a
// later one reads an input that is the same array.
bool must_wait(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions,
               const LastReads& last_reads, int index);

// Calls the kernel of an instruction.
void call(const Kernels& kernels, const Instruction& instruction, const Array* const* in, const Array& out);

// Runs instructions one by one as kernels over whole arrays, the temporaries in memory of `pool`.
void run_one_by_one(const Kernels& kernels, MemoryPool& pool, const ArrayList& inputs, const ArrayList& outputs,
                    const Instructions& instructions);

// The call of `fused` that is part of a call of `fused_sum`: the register that is summed is its first output.
struct FusedCall {
  std::vector<Array> outputs;
  Instructions instructions;

  // If no array of the call holds that register, it is in new memory of `pool` or, without a pool, in memory that
  // nobody may look at.
  FusedCall(const ArrayList& inputs, const ArrayList& outputs, const Array& total, const Instructions& instructions,
            int summed, MemoryPool* pool);
};

}  // namespace needle
