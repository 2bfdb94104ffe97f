// The scalar functions of the element-wise binary operations, shared by all backends.
#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/common/host_device.h"
#include "kernels/common/operation_cost.h"

namespace needle {

template <class T, bool = std::is_integral_v<T> && !std::is_same_v<T, bool>>
struct ArithmeticType {
  using type = T;
};
template <class T>
struct ArithmeticType<T, true> {
  using type = std::make_unsigned_t<T>;
};
// The type that T's arithmetic is done in. Integers use their unsigned type, because signed overflow is undefined.
template <class T>
using Arithmetic = typename ArithmeticType<T>::type;

struct Add {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>)
      return a | b;
    else
      return static_cast<T>(Arithmetic<T>(a) + Arithmetic<T>(b));
  }
};

struct Subtract {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    return static_cast<T>(Arithmetic<T>(a) - Arithmetic<T>(b));
  }
};

struct Multiply {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>)
      return a & b;
    else
      return static_cast<T>(Arithmetic<T>(a) * Arithmetic<T>(b));
  }
};

struct Divide {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    return a / b;
  }
};

// Maximum and Minimum propagate NaN: a NaN in `a` by the second test, a NaN in `b` because both tests are then false.
struct Maximum {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    return (a > b) | (a != a) ? a : b;
  }
};

struct Minimum {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    return (a < b) | (a != a) ? a : b;
  }
};

struct AddRelu {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    const T sum = Add::apply(a, b);
    return T{0} > sum ? T{0} : sum;  // propagates NaN
  }
};

struct ReluBackward {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T grad, T a) {
    return a <= 0 ? T{0} : grad;
  }  // grad where a is NaN, as in PyTorch
};

struct SigmoidBackward {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T grad, T y) {
    return grad * (y * (1 - y));
  }
};

struct TanhBackward {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T grad, T y) {
    return grad * ((1 - y) * (1 + y));
  }
};

// a = q b + r, where q is an integer, r has b's sign and |r| < |b|. Floating-point results match NumPy's divmod.
struct Remainder {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0 || (std::is_signed_v<T> && b == T(-1))) return 0;  // INT_MIN % -1 is undefined in C++
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
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
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
      return q - whole > T(0.5) ? whole + 1 : whole;  // q differs from an integer only by rounding
    }
  }
};

struct Power {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b < 0) {  // the exact result is a fraction and is truncated; for a = 0 it is undefined and we return 0
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

// Math provides gelu_derivative: kernels/cpu/vector_math.h, kernels/cuda/math.h.
template <class Math>
struct GeluBackwardOf {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T grad, T a) {
    return grad * Math::gelu_derivative(a);
  }
};

template <>
inline constexpr int kCost<Remainder> = 16;
template <>
inline constexpr int kCost<FloorDivide> = 16;
template <>
inline constexpr int kCost<Power> = 16;
template <class Math>
inline constexpr int kCost<GeluBackwardOf<Math>> = 8;

// Operations whose result is bool
// clang-format off
struct LogicalAnd { static NEEDLE_HOST_DEVICE bool apply(bool a, bool b) { return a & b; } };
struct LogicalOr { static NEEDLE_HOST_DEVICE bool apply(bool a, bool b) { return a | b; } };
struct LogicalXor { static NEEDLE_HOST_DEVICE bool apply(bool a, bool b) { return a ^ b; } };
struct Equal { template <class T> static NEEDLE_HOST_DEVICE bool apply(T a, T b) { return a == b; } };
struct NotEqual { template <class T> static NEEDLE_HOST_DEVICE bool apply(T a, T b) { return a != b; } };
struct Less { template <class T> static NEEDLE_HOST_DEVICE bool apply(T a, T b) { return a < b; } };
struct LessEqual { template <class T> static NEEDLE_HOST_DEVICE bool apply(T a, T b) { return a <= b; } };
// clang-format on

}  // namespace needle
