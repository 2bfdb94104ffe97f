// Comparisons, logic on bool, and selection.
#include "kernels/common/binary_operations.h"
#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// clang-format off
struct Not { static bool apply(bool a) { return !a; } };
// clang-format on

template <class Operation>
void compare(const char* op, const Array& a, const Array& b, const Array& out) {
  check_dtype(op, {"out", out}, DType::boolean);
  dispatch(a.dtype, [&](auto zero) {
    run_binary(op, binary_loop<Operation, Compute<decltype(zero)>, bool>, 1, a, b, out);
  });
}

template <class Operation>
void logical(const char* op, const Array& a, const Array& b, const Array& out) {
  check_dtype(op, {"a", a}, DType::boolean);
  check_dtype(op, {"out", out}, DType::boolean);
  run_binary(op, binary_loop<Operation, bool, bool>, 1, a, b, out);
}

template <class T>
void where_loop(int64_t n, void* const* operands, const void*) {
  auto* out = static_cast<T*>(operands[0]);
  auto* condition = static_cast<const uint8_t*>(operands[1]);
  auto* a = static_cast<const T*>(operands[2]);
  auto* b = static_cast<const T*>(operands[3]);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T yes = a[i], no = b[i];  // both are read, so that the choice is no branch
    out[i] = condition[i] ? yes : no;
  }
}

void pick(const Array& condition, const Array& a, const Array& b, const Array& out) {
  const Array* arrays[] = {&out, &condition, &a, &b};
  dispatch(out.dtype, [&](auto zero) {
    elementwise(where_loop<Stored<Compute<decltype(zero)>>>, arrays, 4, 1);
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

void logical_not(const Array& a, const Array& out) {
  check_dtype("logical_not", {"a", a}, DType::boolean);
  check_dtype("logical_not", {"out", out}, DType::boolean);
  run_unary("logical_not", unary_loop<Not, bool, bool>, 1, a, out);
}

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

}  // namespace needle::cpu::NEEDLE_LEVEL
