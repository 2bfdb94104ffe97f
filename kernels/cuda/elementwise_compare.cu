// Comparisons, logic on bool, and selection.
#include "kernels/common/binary_operations.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

struct Where { template <class T> static __device__ T apply(bool condition, T a, T b) { return condition ? a : b; } };

void check_operands(const char* op, const Array& a, const Array& b, const Array& out) {
  check_dtype(op, {"out", out}, DType::boolean);
  check_same_dtype(op, {"a", a}, {"b", b});
  check_broadcast(op, {"a", a}, {"out", out});
  check_broadcast(op, {"b", b}, {"out", out});
}

template <class Operation>
void compare(const char* op, const Array& a, const Array& b, const Array& out) {
  check_operands(op, a, b, out);
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<bool, T, T>(Operation{}, out, a, b);
  });
}

template <class Operation>
void logical(const char* op, const Array& a, const Array& b, const Array& out) {
  check_operands(op, a, b, out);
  check_dtype(op, {"a", a}, DType::boolean);
  elementwise<bool, bool, bool>(Operation{}, out, a, b);
}

void pick(const Array& condition, const Array& a, const Array& b, const Array& out) {
  dispatch(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, bool, T, T>(Where{}, out, condition, a, b);
  });
}

}  // namespace

void equal(const Array& a, const Array& b, const Array& out) { compare<Equal>("equal", a, b, out); }
void not_equal(const Array& a, const Array& b, const Array& out) { compare<NotEqual>("not_equal", a, b, out); }
void less(const Array& a, const Array& b, const Array& out) { compare<Less>("less", a, b, out); }
void less_equal(const Array& a, const Array& b, const Array& out) { compare<LessEqual>("less_equal", a, b, out); }

void logical_and(const Array& a, const Array& b, const Array& out) { logical<And>("logical_and", a, b, out); }
void logical_or(const Array& a, const Array& b, const Array& out) { logical<Or>("logical_or", a, b, out); }
void logical_xor(const Array& a, const Array& b, const Array& out) { logical<Xor>("logical_xor", a, b, out); }

void where(const Array& condition, const Array& a, const Array& b, const Array& out) {
  check_dtype("where", {"condition", condition}, DType::boolean);
  check_same_dtype("where", {"a", a}, {"b", b});
  check_same_dtype("where", {"a", a}, {"out", out});
  check_broadcast("where", {"condition", condition}, {"out", out});
  check_broadcast("where", {"a", a}, {"out", out});
  check_broadcast("where", {"b", b}, {"out", out});
  if (a.is_half_scalar() || b.is_half_scalar())
    return pick(condition, a.rounded_scalar(), b.rounded_scalar(), out);
  pick(condition, a, b, out);
}

}  // namespace needle::cuda
