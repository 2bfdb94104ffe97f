// Shared by the element-wise kernels: turns scalar operations into loops and runs them over arrays.
#pragma once

#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {

// A loop and its cost per element, or null for a kernel that a function below does not know.
struct CostedLoop {
  Loop loop = nullptr;
  int cost = 1;
};

// The loop of a kernel for operands of a dtype, which both the kernel and `fused` run.
CostedLoop unary_loop_of(ElementKernel kernel, DType dtype);
CostedLoop binary_loop_of(ElementKernel kernel, DType dtype);
CostedLoop comparison_loop_of(ElementKernel kernel, DType dtype);
CostedLoop where_loop_of(DType dtype);
CostedLoop copy_loop_of(DType from, DType to);
// Of `power` with a 0-d exponent, which reads only the base, or null: then it is that of binary_loop_of.
CostedLoop power_loop_of(const Array& exponent);
// Of `power` for one element, whose exponent is not known yet; null for integers.
CostedLoop single_power_loop_of(DType dtype);

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

inline void run_unary(CostedLoop run, const Array& a, const Array& out) {
  const Array* arrays[] = {&out, &a};
  elementwise(run.loop, arrays, 2, run.cost);
}

inline void run_binary(CostedLoop run, const Array& a, const Array& b, const Array& out) {
  const Array* arrays[] = {&out, &a, &b};
  elementwise(run.loop, arrays, 3, run.cost);
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
