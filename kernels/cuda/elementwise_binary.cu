// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include "kernels/common/binary_operations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/math.h"

namespace needle::cuda {
namespace {

using GeluBackward = GeluBackwardOf<math>;

template <class Operation>
void any(const Array& a, const Array& b, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Operation{}, out, a, b);
  });
}

template <class Operation>
void numbers(const Array& a, const Array& b, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) elementwise<T, T, T>(Operation{}, out, a, b);
  });
}

template <class Operation>
void floating(const Array& a, const Array& b, const Array& out) {
  dispatch_floating(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Operation{}, out, a, b);
  });
}

template <class Operation>
void boolean(const Array& a, const Array& b, const Array& out) {
  elementwise<bool, bool, bool>(Operation{}, out, a, b);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { dtypes<Operation>(a, b, out); }
NEEDLE_BINARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

}  // namespace needle::cuda
