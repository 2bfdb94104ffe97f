// Shared by the element-wise kernels: turns scalar operations into loops and runs them over arrays.
#pragma once

#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// An operation is a struct with a function template `apply` for one element. In and Out are C++ types as in dtype.h.
// Loops may work in-place, and `ivdep` is still correct: each element is read before it is written, and no element
// depends on another.
template <class Operation, class In, class Out>
void unary_loop(int64_t n, void* const* operands, const void*) {
  auto* out = static_cast<Stored<Out>*>(operands[0]);
  auto* a = static_cast<const Stored<In>*>(operands[1]);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = Operation::apply(static_cast<In>(a[i]));
}

template <class Operation, class In, class Out>
void binary_loop(int64_t n, void* const* operands, const void*) {
  auto* out = static_cast<Stored<Out>*>(operands[0]);
  auto* a = static_cast<const Stored<In>*>(operands[1]);
  auto* b = static_cast<const Stored<In>*>(operands[2]);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = Operation::apply(static_cast<In>(a[i]), static_cast<In>(b[i]));
}

inline void run_unary(Loop loop, int cost, const Array& a, const Array& out) {
  const Array* arrays[] = {&out, &a};
  elementwise(loop, arrays, 2, cost);
}

inline void run_binary(Loop loop, int cost, const Array& a, const Array& b, const Array& out) {
  const Array* arrays[] = {&out, &a, &b};
  elementwise(loop, arrays, 3, cost);
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
