// Element-wise kernels with one operand.
#include "kernels/common/unary_operations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/math.h"

namespace needle::cuda {
namespace {

template <class Operation>
void numbers(const Array& a, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) elementwise<T, T>(Operation{}, out, a);
  });
}

template <class Operation>
void floating(const Array& a, const Array& out) {
  dispatch_floating(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T>(Operation{}, out, a);
  });
}

template <class Operation>
void boolean(const Array& a, const Array& out) {
  elementwise<bool, bool>(Operation{}, out, a);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& out) { dtypes<Operation<math>>(a, out); }
NEEDLE_UNARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

}  // namespace needle::cuda
