// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include <cmath>
#include <type_traits>

#include "kernels/common/binary_operations.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Powers that need no logarithm. `power` uses them if the exponent is a scalar.
// clang-format off
struct PowerOne { template <class T> static T apply(T a) { return a; } };
struct PowerTwo { template <class T> static T apply(T a) { return a * a; } };
struct PowerThree { template <class T> static T apply(T a) { return a * a * a; } };
struct PowerMinusOne { template <class T> static T apply(T a) { return 1 / a; } };
struct PowerMinusTwo { template <class T> static T apply(T a) { return (1 / a) * (1 / a); } };  // a * a may overflow
// clang-format on

// As with std::pow, -0 and -infinity give 0 and infinity; std::sqrt alone would give -0 and NaN.
struct PowerHalf {
  template <class T>
  static T apply(T a) {
    return a == -INFINITY ? T(INFINITY) : std::sqrt(a + T{0});
  }
};

struct PowerMinusHalf {
  template <class T>
  static T apply(T a) {
    return a == -INFINITY ? T{0} : 1 / std::sqrt(a + T{0});
  }
};

template <class T>
Loop power_loop(T exponent) {
  if (exponent == T(1)) return unary_loop<PowerOne, T, T>;
  if (exponent == T(2)) return unary_loop<PowerTwo, T, T>;
  if (exponent == T(3)) return unary_loop<PowerThree, T, T>;
  if (exponent == T(0.5)) return unary_loop<PowerHalf, T, T>;
  if (exponent == T(-0.5)) return unary_loop<PowerMinusHalf, T, T>;
  if (exponent == T(-1)) return unary_loop<PowerMinusOne, T, T>;
  if (exponent == T(-2)) return unary_loop<PowerMinusTwo, T, T>;
  return nullptr;
}

using GeluBackward = GeluBackwardOf<math>;

template <class Operation>
void any(const Array& a, const Array& b, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    run_binary(binary_loop<Operation, T, T>, kCost<Operation>, a, b, out);
  });
}

// The faster loop for a scalar exponent of a floating dtype, or null if there is none.
Loop loop_for_exponent(const Array& b) {
  Loop loop = nullptr;
  if (b.ndim == 0) dispatch_floating(b.dtype, [&](auto zero) { loop = power_loop(b.number<decltype(zero)>()); });
  return loop;
}

template <class Operation>
void numbers(const Array& a, const Array& b, const Array& out) {
  if constexpr (std::is_same_v<Operation, Power>)
    if (const Loop loop = loop_for_exponent(b)) return run_unary(loop, 1, a, out);
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (!std::is_same_v<T, bool>) run_binary(binary_loop<Operation, T, T>, kCost<Operation>, a, b, out);
  });
}

template <class Operation>
void floating(const Array& a, const Array& b, const Array& out) {
  const Loop loop =
      a.dtype == DType::float64 ? binary_loop<Operation, double, double> : binary_loop<Operation, float, float>;
  run_binary(loop, kCost<Operation>, a, b, out);
}

template <class Operation>
void boolean(const Array& a, const Array& b, const Array& out) {
  run_binary(binary_loop<Operation, bool, bool>, kCost<Operation>, a, b, out);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { dtypes<Operation>(a, b, out); }
NEEDLE_BINARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

}  // namespace needle::cpu::NEEDLE_LEVEL
