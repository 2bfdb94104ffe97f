// Comparisons and selection.
#include "kernels/common/binary_operations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

struct Where {
  template <class T>
  static __device__ T apply(bool condition, T a, T b) {
    return condition ? a : b;
  }
};

template <class Operation>
void any(const Array& a, const Array& b, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<bool, T, T>(Operation{}, out, a, b);
  });
}

void pick(const Array& condition, const Array& a, const Array& b, const Array& out) {
  dispatch(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, bool, T, T>(Where{}, out, condition, a, b);
  });
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { dtypes<Operation>(a, b, out); }
NEEDLE_COMPARISON_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

void where(const Array& condition, const Array& a, const Array& b, const Array& out) {
  if (a.is_half_scalar() || b.is_half_scalar()) return pick(condition, a.rounded_scalar(), b.rounded_scalar(), out);
  pick(condition, a, b, out);
}

}  // namespace needle::cuda
