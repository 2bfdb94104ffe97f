// The instructions of `fused` and `fused_sum` as loops.
#pragma once

#include "kernels/common/fused.h"
#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {

// An instruction fills two slots with numbers at most, runs its kernel and rounds. At the end outputs are stored.
inline constexpr int kMostSteps = 4 * kMostInstructions + kMaxOperands;
// Scratch slots: one for every instruction's result, and two numbers of `where`.
inline constexpr int kMostScratch = kMostInstructions + 2;

// One pass over the current chunk. A slot is a chunk of an array or of scratch memory; slots[0] is the output.
struct Step {
  Loop loop;
  const void* context;
  int num_slots;
  int slots[4];
};

// The instructions as loops over slots. Slots 0, 1, ... are the outputs, then the inputs, then scratch memory.
class Steps {
 public:
  Steps(const ArrayList& inputs, const ArrayList& outputs, const Instructions& instructions);
  Steps(const Steps&) = delete;  // steps point to numbers

  // The work per element, in additions.
  int cost() const { return cost_; }
  // Runs all steps over n consecutive elements.
  void run(int64_t n, void* const* arrays) const;

 private:
  void add_instruction(int index);
  CostedLoop loop_of(const Instruction& instruction) const;
  // The slot of an instruction's operand; for a half-type number that `copy` and `where` do not use as it is, a new
  // one.
  int read_slot(const Instruction& instruction, int operand);
  int new_scratch();
  void release(int slot) { free_[num_free_++] = slot; }
  void add(Loop loop, const int* slots, int num_slots, const void* context = nullptr);
  bool is_temporary(int k) const { return k >= inputs_.count + outputs_.count; }

  const ArrayList& inputs_;
  const ArrayList& outputs_;
  const Instructions& instructions_;
  const LastReads last_reads_;
  const int num_arrays_;
  DType dtypes_[kMostRegisters];
  int slots_[kMostRegisters];
  int num_steps_ = 0, num_free_ = 0, num_scratch_ = 0, num_numbers_ = 0;
  Step steps_[kMostSteps];
  int free_[kMostScratch];    // scratch slots
  int64_t scratch_size_ = 1;  // bytes of an element of a scratch slot
  int64_t array_sizes_[kMaxOperands];
  int64_t chunk_;
  int cost_ = 0;
  double numbers_[2 * kMostInstructions];  // a float32 is in the first half
};

// Applies the `Steps` that are the context.
void run_steps(int64_t n, void* const* operands, const void* context);

}  // namespace needle::cpu::NEEDLE_LEVEL
