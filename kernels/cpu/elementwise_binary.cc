// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include <cmath>
#include <type_traits>

#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

template <class T, bool = std::is_integral_v<T> && !std::is_same_v<T, bool>>
struct ArithmeticType { using type = T; };
template <class T>
struct ArithmeticType<T, true> { using type = std::make_unsigned_t<T>; };
// Where T's arithmetic is done: integers wrap around, as unsigned ones do (and signed ones must not).
template <class T> using Arithmetic = typename ArithmeticType<T>::type;

struct Add {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>) return a | b;
    else return static_cast<T>(Arithmetic<T>(a) + Arithmetic<T>(b));
  }
};

struct Subtract {
  template <class T>
  static T apply(T a, T b) { return static_cast<T>(Arithmetic<T>(a) - Arithmetic<T>(b)); }
};

struct Multiply {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>) return a & b;
    else return static_cast<T>(Arithmetic<T>(a) * Arithmetic<T>(b));
  }
};

struct Divide {
  template <class T>
  static T apply(T a, T b) { return a / b; }
};

// Both hand on NaN: a NaN in `a` by the second test, one in `b` because the first comparison fails.
struct Maximum {
  template <class T>
  static T apply(T a, T b) { return (a > b) | (a != a) ? a : b; }
};

struct Minimum {
  template <class T>
  static T apply(T a, T b) { return (a < b) | (a != a) ? a : b; }
};

struct AddRelu {
  template <class T>
  static T apply(T a, T b) {
    const T sum = Add::apply(a, b);
    return T{0} > sum ? T{0} : sum;  // NaN passes
  }
};

struct ReluBackward {
  template <class T>
  static T apply(T grad, T a) { return a > 0 ? grad : T{0}; }
};

// a = q b + r with integers q and r of b's sign, |r| < |b|. Floating results are those of NumPy's divmod.
struct Remainder {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0 || (std::is_signed_v<T> && b == T(-1))) return 0;  // INT_MIN % -1 does not exist in C++
      const T r = static_cast<T>(a % b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
    } else {
      const T r = std::fmod(a, b);
      if (r == 0) return std::copysign(T{0}, b);
      return (r < 0) != (b < 0) ? r + b : r;
    }
  }
};

struct FloorDivide {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return 0;
      if (std::is_signed_v<T> && b == T(-1)) return Subtract::apply<T>(0, a);
      const T q = static_cast<T>(a / b), r = static_cast<T>(a % b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(q - 1) : q;
    } else {
      if (b == 0) return a / b;
      const T r = std::fmod(a, b);
      T q = (a - r) / b;
      if (r != 0 && (r < 0) != (b < 0)) q -= 1;
      if (q == 0) return std::copysign(T{0}, a / b);
      const T whole = std::floor(q);
      return q - whole > T(0.5) ? whole + 1 : whole;  // q is off an integer by rounding only
    }
  }
};

struct Power {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b < 0) {  // the exact result is a fraction, cut off; 0 has none
        if (a == 1) return 1;
        if (a == T(-1)) return b & 1 ? a : 1;
        return 0;
      }
      Arithmetic<T> result = 1, square = static_cast<Arithmetic<T>>(a);
      for (; b != 0; b = static_cast<T>(b >> 1)) {
        if (b & 1) result = Arithmetic<T>(result * square);
        square = Arithmetic<T>(square * square);
      }
      return static_cast<T>(result);
    } else {
      return std::pow(a, b);
    }
  }
};

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

void divide(const Array& a, const Array& b, const Array& out) {
  check_floating("divide", {"a", a});
  check_same_dtype("divide", {"a", a}, {"out", out});
  const Loop loop = a.dtype == DType::float64 ? binary_loop<Divide, double, double> : binary_loop<Divide, float, float>;
  run_binary("divide", loop, 1, a, b, out);
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
      if constexpr (is_floating<T>) loop = power_loop<Compute<T>>(*b.data<T>());
    });
    if (loop) return run_unary("power", loop, 1, a, out);
  }
  number<Power>("power", 16, a, b, out);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
