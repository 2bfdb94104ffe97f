// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include <cmath>
#include <type_traits>

#include "kernels/common/binary_operations.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Powers that need no logarithm. `power` uses them where the exponent is a scalar.
// clang-format off
struct PowerOne { template <class T> static T apply(T a) { return a; } };
struct PowerTwo { template <class T> static T apply(T a) { return a * a; } };
struct PowerThree { template <class T> static T apply(T a) { return a * a * a; } };
struct PowerMinusOne { template <class T> static T apply(T a) { return 1 / a; } };
struct PowerMinusTwo { template <class T> static T apply(T a) { return (1 / a) * (1 / a); } };  // a * a may overflow
// clang-format on

// As std::pow has it, -0 and -infinity give 0 and infinity, where the root gives -0 and NaN.
struct PowerHalf {
  template <class T>
  static T apply(T a) { return a == -INFINITY ? T(INFINITY) : std::sqrt(a + T{0}); }
};

struct PowerMinusHalf {
  template <class T>
  static T apply(T a) { return a == -INFINITY ? T{0} : 1 / std::sqrt(a + T{0}); }
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

struct GeluBackward {
  template <class T>
  static T apply(T grad, T a) { return grad * math::gelu_derivative(a); }
};

template <class T>
void lerp_loop(int64_t n, void* const* operands, const void* context) {
  auto* out = static_cast<T*>(operands[0]);
  auto *a = static_cast<const T*>(operands[1]), *b = static_cast<const T*>(operands[2]);
  const T weight = static_cast<T>(*static_cast<const double*>(context));
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] + weight * (b[i] - a[i]);
}

template <class Operation, bool bool_too = false>
void number(const char* op, int cost, const Array& a, const Array& b, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  if (!bool_too) check_not_bool(op, {"a", a});
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (bool_too || !std::is_same_v<T, bool>) run_binary(op, binary_loop<Operation, T, T>, cost, a, b, out);
  });
}

template <class Operation>
void floating(const char* op, int cost, const Array& a, const Array& b, const Array& out) {
  check_floating(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  const Loop loop =
      a.dtype == DType::float64 ? binary_loop<Operation, double, double> : binary_loop<Operation, float, float>;
  run_binary(op, loop, cost, a, b, out);
}

}  // namespace

void add(const Array& a, const Array& b, const Array& out) { number<Add, true>("add", 1, a, b, out); }
void subtract(const Array& a, const Array& b, const Array& out) { number<Subtract>("subtract", 1, a, b, out); }
void multiply(const Array& a, const Array& b, const Array& out) { number<Multiply, true>("multiply", 1, a, b, out); }
void maximum(const Array& a, const Array& b, const Array& out) { number<Maximum, true>("maximum", 1, a, b, out); }
void minimum(const Array& a, const Array& b, const Array& out) { number<Minimum, true>("minimum", 1, a, b, out); }
void add_relu(const Array& a, const Array& b, const Array& out) { number<AddRelu>("add_relu", 1, a, b, out); }
void relu_backward(const Array& grad_out, const Array& a, const Array& out) {
  number<ReluBackward>("relu_backward", 1, grad_out, a, out);
}
void remainder(const Array& a, const Array& b, const Array& out) { number<Remainder>("remainder", 16, a, b, out); }

void floor_divide(const Array& a, const Array& b, const Array& out) {
  number<FloorDivide>("floor_divide", 16, a, b, out);
}

void divide(const Array& a, const Array& b, const Array& out) { floating<Divide>("divide", 1, a, b, out); }
void gelu_backward(const Array& grad_out, const Array& a, const Array& out) {
  floating<GeluBackward>("gelu_backward", 8, grad_out, a, out);
}

void lerp(const Array& a, const Array& b, double weight, const Array& out) {
  check_floating("lerp", {"a", a});
  check_same_dtype("lerp", {"a", a}, {"out", out});
  run_binary("lerp", a.dtype == DType::float64 ? lerp_loop<double> : lerp_loop<float>, 1, a, b, out, &weight);
}

void power(const Array& a, const Array& b, const Array& out) {
  if (b.ndim == 0 && is_floating_dtype(a.dtype) && a.dtype == b.dtype && a.dtype == out.dtype) {
    Loop loop = nullptr;
    dispatch(a.dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (is_floating<T>) loop = power_loop(b.number<T>());
    });
    if (loop) return run_unary("power", loop, 1, a, out);
  }
  number<Power>("power", 16, a, b, out);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
