// Comparisons and selection.
#include "kernels/common/binary_operations.h"
#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

template <class Operation>
CostedLoop any(DType dtype) {
  CostedLoop run;
  dispatch(dtype, [&](auto zero) { run.loop = binary_loop<Operation, Compute<decltype(zero)>, bool>; });
  return run;
}

template <class T>
void where_loop(int64_t n, void* const* operands, const void*) {
  auto* out = static_cast<T*>(operands[0]);
  auto* condition = static_cast<const uint8_t*>(operands[1]);
  auto* a = static_cast<const T*>(operands[2]);
  auto* b = static_cast<const T*>(operands[3]);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T yes = a[i], no = b[i];  // reading both makes the choice branch-free
    out[i] = condition[i] ? yes : no;
  }
}

void pick(const Array& condition, const Array& a, const Array& b, const Array& out) {
  const Array* arrays[] = {&out, &condition, &a, &b};
  const CostedLoop run = where_loop_of(out.dtype);
  elementwise(run.loop, arrays, 4, run.cost);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { run_binary(dtypes<Operation>(a.dtype), a, b, out); }
NEEDLE_COMPARISON_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

CostedLoop comparison_loop_of(ElementKernel kernel, DType dtype) {
  switch (kernel) {
#define NEEDLE_CASE(name, Operation, dtypes) \
  case ElementKernel::name: return dtypes<Operation>(dtype);
    NEEDLE_COMPARISON_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
    default: return {};
  }
}

CostedLoop where_loop_of(DType dtype) {
  CostedLoop run;
  dispatch(dtype, [&](auto zero) { run.loop = where_loop<Stored<Compute<decltype(zero)>>>; });
  return run;
}

void where(const Array& condition, const Array& a, const Array& b, const Array& out) {
  if (a.is_half_scalar() || b.is_half_scalar()) return pick(condition, a.rounded_scalar(), b.rounded_scalar(), out);
  pick(condition, a, b, out);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
