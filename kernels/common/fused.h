// What the implementations of the kernel `fused` share.
#pragma once

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

}  // namespace needle
