// gelu(a) = a P(X <= a) for a standard normal X, and its derivative, shared by all backends.
//
// Both are computed from the tail probability P(X > t) with t = |a|, a complementary error function, so that they stay
// accurate for large negative a. gelu(a) is a - t P(X > t) for a > 0 and -t P(X > t) below 0. The derivative
// P(X <= a) + a p(a), where p is the density, is 1 - d above 0 and d below it, with d = P(X > t) - t p(t).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/common/host_device.h"

namespace needle {

// The leading half of a number's mantissa bits, whose square is exact.
inline NEEDLE_HOST_DEVICE float leading_half(float a) {
  uint32_t bits;
  std::memcpy(&bits, &a, sizeof bits);
  bits &= 0xfffff000u;
  std::memcpy(&a, &bits, sizeof bits);
  return a;
}
inline NEEDLE_HOST_DEVICE double leading_half(double a) {
  uint64_t bits;
  std::memcpy(&bits, &a, sizeof bits);
  bits &= ~uint64_t{0x7ffffff};
  std::memcpy(&a, &bits, sizeof bits);
  return a;
}

// |a|, clamped to a bound at which tail and density are already 0; propagates NaN.
inline NEEDLE_HOST_DEVICE float bounded_magnitude(float a) {
  const float t = std::fabs(a);
  return t > 15.0f ? 15.0f : t;
}
inline NEEDLE_HOST_DEVICE double bounded_magnitude(double a) {
  const double t = std::fabs(a);
  return t > 40.0 ? 40.0 : t;
}

// P(X > t) = erfc(t / sqrt(2)) / 2. The error of rounding t / sqrt(2) to x is corrected with erfc's derivative, which
// is -erfc(x) (x + sqrt(x^2 + 4 / pi)) to within a few percent (Abramowitz and Stegun 7.1.13).
template <class T>
NEEDLE_HOST_DEVICE T normal_tail(T t) {
  constexpr double kRootHalf = 0.70710678118654752440;
  constexpr T kLeading = static_cast<T>(kRootHalf);
  constexpr T kRest = static_cast<T>(sizeof(T) == 8 ? -4.8336466567264567e-17 : kRootHalf - double{kLeading});
  const T x = t * kLeading, lost = std::fma(t, kLeading, -x) + t * kRest;
  const T slope = x + std::sqrt(x * x + T(1.2732395447351628));
  return T(0.5) * std::erfc(x) * (1 - lost * slope);
}

// p(t) = e^(-t^2 / 2) / sqrt(2 pi), with t^2 split into two parts for accuracy.
template <class T>
NEEDLE_HOST_DEVICE T normal_density(T t) {
  const T leading = leading_half(t), rest = (t - leading) * (t + leading);
  return T(0.39894228040143267794) * std::exp(T(-0.5) * leading * leading) * std::exp(T(-0.5) * rest);
}

template <class T>
NEEDLE_HOST_DEVICE T gelu(T a) {
  const T t = bounded_magnitude(a), below = t * normal_tail(t);
  return std::copysign(a > 0 ? a - below : below, a);
}

template <class T>
NEEDLE_HOST_DEVICE T gelu_derivative(T a) {
  const T t = bounded_magnitude(a), below = normal_tail(t) - t * normal_density(t);
  return a < 0 ? below : 1 - below;
}

}  // namespace needle
