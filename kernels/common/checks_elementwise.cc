// Checks of the element-wise kernels and of those that fill an array with random numbers.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"

namespace needle::check {
namespace {

// The dtypes of the kernel table
void any(const char*, NamedArray) {}
void numbers(const char* op, NamedArray a) { check_not_bool(op, a); }
void floating(const char* op, NamedArray a) { check_floating(op, a); }
void boolean(const char* op, NamedArray a) { check_dtype(op, a, DType::boolean); }

using DTypeCheck = void(const char* op, NamedArray a);

void check_unary(const char* op, DTypeCheck* check, const Array& a, const Array& out) {
  check(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
}

void check_binary(const char* op, DTypeCheck* check, const Array& a, const Array& b, const Array& out) {
  check(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"b", b});
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
  check_broadcast(op, {"b", b}, {"out", out});
}

void check_comparison(const char* op, DTypeCheck* check, const Array& a, const Array& b, const Array& out) {
  check(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"b", b});
  check_dtype(op, {"out", out}, DType::boolean);
  check_broadcast(op, {"a", a}, {"out", out});
  check_broadcast(op, {"b", b}, {"out", out});
}

}  // namespace

void copy(const Array& a, const Array& out) { check_broadcast("copy", {"a", a}, {"out", out}); }

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& out) { check_unary(#name, dtypes, a, out); }
NEEDLE_UNARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { check_binary(#name, dtypes, a, b, out); }
NEEDLE_BINARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { check_comparison(#name, dtypes, a, b, out); }
NEEDLE_COMPARISON_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

void where(const Array& condition, const Array& a, const Array& b, const Array& out) {
  check_dtype("where", {"condition", condition}, DType::boolean);
  check_broadcast("where", {"condition", condition}, {"out", out});
  check_binary("where", any, a, b, out);
}

void random_uniform(const Array& out, int64_t /*seed*/, int64_t /*offset*/) {
  check_floating("random_uniform", {"out", out});
}

void random_normal(const Array& out, int64_t /*seed*/, int64_t /*offset*/) {
  check_floating("random_normal", {"out", out});
}

void random_dropout_mask(const Array& out, double p, int64_t /*seed*/, int64_t /*offset*/) {
  check_floating("random_dropout_mask", {"out", out});
  if (!(p >= 0 && p <= 1)) throw_shape_error("random_dropout_mask: p is %g, expected a probability from 0 to 1", p);
}

}  // namespace needle::check
