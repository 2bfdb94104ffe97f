// gelu(a) = a P(X <= a) for a standard normal X, and its derivative, on all backends.
//
// Both are made of the tail P(X > t) of t = |a|, a complementary error function, so that they keep their digits where a
// is far below 0: gelu(a) is a - t P(X > t) above 0 and -t P(X > t) below; the derivative P(X <= a) + a p(a), p being
// the density, is 1 - d above and d below with d = P(X > t) - t p(t).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/common/host_device.h"

namespace needle {

// The leading half of a number's digits: its square is exact.
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

// |a|, or a number whose tail and density are 0 if it is larger; NaN passes.
inline NEEDLE_HOST_DEVICE float bounded_magnitude(float a) {
  const float t = std::fabs(a);
  return t > 15.0f ? 15.0f : t;
}
inline NEEDLE_HOST_DEVICE double bounded_magnitude(double a) {
  const double t = std::fabs(a);
  return t > 40.0 ? 40.0 : t;
}

// P(X > t) = erfc(t / sqrt(2)) / 2. What t / sqrt(2) loses by rounding to x is made good by erfc's derivative, which is
// -erfc(x) (x + sqrt(x^2 + 4 / pi)) but for a few percent (Abramowitz and Stegun 7.1.13).
template <class T>
NEEDLE_HOST_DEVICE T normal_tail(T t) {
  constexpr double kRootHalf = 0.70710678118654752440;
  constexpr T kLeading = static_cast<T>(kRootHalf);
  constexpr T kRest = static_cast<T>(sizeof(T) == 8 ? -4.8336466567264567e-17 : kRootHalf - double{kLeading});
  const T x = t * kLeading, lost = std::fma(t, kLeading, -x) + t * kRest;
  const T slope = x + std::sqrt(x * x + T(1.2732395447351628));
  return T(0.5) * std::erfc(x) * (1 - lost * slope);
}

// p(t) = e^(-t^2 / 2) / sqrt(2 pi), the square in two parts.
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
