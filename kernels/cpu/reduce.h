// Sums of elements that are computed while they are added.
#pragma once

#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {

// Elements of a dense array, by their index in its memory, that are computed when they are asked for, each once.
struct Computed {
  const ElementRanges& ranges;  // the first of their arrays is the one that is computed
  std::byte* memory;            // where the elements belong, or null for those that are only added
  int cost;                     // of an element, in additions

  // Computes `n` elements from the element `begin` on: to `chunk` if they have no memory. Returns where they are.
  const std::byte* run(int64_t begin, int64_t n, int64_t itemsize, std::byte* chunk) const {
    ranges.run(begin, begin + n, memory ? nullptr : chunk);
    return memory ? memory + begin * itemsize : chunk;
  }
};

// The kernel `sum` of an array whose elements are computed, to the bit. Returns false, and has done nothing, if it
// would ask for elements that are not side by side.
bool sum_computed(const Computed& computed, const Array& a, const Array& out);

}  // namespace needle::cpu::NEEDLE_LEVEL
