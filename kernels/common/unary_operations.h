// The scalar functions of the element-wise unary operations, shared by all backends.
//
// Math provides a backend's elementary functions: kernels/cpu/vector_math.h, kernels/cuda/math.h.
#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/common/host_device.h"
#include "kernels/common/operation_cost.h"

namespace needle {

// Integers are negated in their unsigned type, where overflow wraps.
template <class Math>
struct Negate {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(0u - static_cast<std::make_unsigned_t<T>>(a));
    else
      return -a;
  }
};

template <class Math>
struct Abs {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return a < 0 ? Negate<Math>::apply(a) : a;
    else
      return std::fabs(a);
  }
};

template <class Math>
struct Sign {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>((a > 0) - (a < 0));
    else
      return a > 0 ? T{1} : a < 0 ? T{-1} : a != a ? a : T{0};
  }
};

template <class Math>
struct Relu {
  template <class T>
  static NEEDLE_HOST_DEVICE T apply(T a) {
    return T{0} > a ? T{0} : a;
  }  // propagates NaN
};

template <class Math>
struct LogicalNot {
  static NEEDLE_HOST_DEVICE bool apply(bool a) { return !a; }
};

// Operations on floating-point numbers
// clang-format off
template <class Math> struct Floor { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return std::floor(a); } };
template <class Math> struct Ceil { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return std::ceil(a); } };
template <class Math> struct Sqrt { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return std::sqrt(a); } };
template <class Math> struct Exp { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::exp(a); } };
template <class Math> struct Log { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::log(a); } };
template <class Math> struct Sin { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::sin(a); } };
template <class Math> struct Cos { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::cos(a); } };
template <class Math> struct Tanh { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::tanh(a); } };
template <class Math> struct Sigmoid { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::sigmoid(a); } };
template <class Math> struct Erf { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::erf(a); } };
template <class Math> struct Gelu { template <class T> static NEEDLE_HOST_DEVICE T apply(T a) { return Math::gelu(a); } };

template <class Math> inline constexpr int kCost<Sqrt<Math>> = 2;
template <class Math> inline constexpr int kCost<Exp<Math>> = 4;
template <class Math> inline constexpr int kCost<Log<Math>> = 4;
template <class Math> inline constexpr int kCost<Sin<Math>> = 8;
template <class Math> inline constexpr int kCost<Cos<Math>> = 8;
template <class Math> inline constexpr int kCost<Tanh<Math>> = 6;
template <class Math> inline constexpr int kCost<Sigmoid<Math>> = 6;
template <class Math> inline constexpr int kCost<Erf<Math>> = 6;
template <class Math> inline constexpr int kCost<Gelu<Math>> = 8;
// clang-format on

}  // namespace needle
