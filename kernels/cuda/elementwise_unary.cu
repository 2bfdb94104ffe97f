// Element-wise kernels with one operand.
#include "kernels/common/unary_operations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/math.h"

namespace needle::cuda {
namespace {

template <class Operation>
void numbers(const char* op, const Array& a, const Array& out) {
  check_not_bool(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) elementwise<T, T>(Operation{}, out, a);
  });
}

template <class Operation>
void floating(const char* op, const Array& a, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
  dispatch_floating(op, a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T>(Operation{}, out, a);
  });
}

template <class Operation>
void boolean(const char* op, const Array& a, const Array& out) {
  check_dtype(op, {"a", a}, DType::boolean);
  check_dtype(op, {"out", out}, DType::boolean);
  check_broadcast(op, {"a", a}, {"out", out});
  elementwise<bool, bool>(Operation{}, out, a);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& out) { dtypes<Operation<math>>(#name, a, out); }
NEEDLE_UNARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

}  // namespace needle::cuda
