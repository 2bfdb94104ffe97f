// Elementary functions of one number, written without branches so that loops over them vectorize.
//
// float32: exp, log, sin, cos and tanh use the polynomials of S. Moshier's Cephes library, with a range reduction that
// also handles subnormal numbers, infinities and NaN. float64: the C library's functions, one call per element.
//
// Each definition states its error bound in ulp (units in the last place) of the exact result, which
// vector_math_test.cc verifies over the whole range; the largest error found there is in brackets.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/common/gelu.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

template <class To, class From>
inline To bit_cast(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Adding this number to x and subtracting it again rounds x to the nearest integer; the low bits of the sum are that
// integer.
inline constexpr float kRoundFloat = 12582912.0f;           // 1.5 * 2^23
inline constexpr double kRoundDouble = 6755399441055744.0;  // 1.5 * 2^52

struct math {
  static float with_sign(float magnitude, float sign) {
    return bit_cast<float>(bit_cast<uint32_t>(magnitude) | (bit_cast<uint32_t>(sign) & 0x80000000u));
  }

  // x - n ln 2, with ln 2 in two parts; the first has few mantissa bits, so that its product with n is exact.
  static float less_multiple_of_ln2(float x, float n) { return x - n * 0.693359375f - n * -2.12194440e-4f; }

  // exp(r) for |r| <= ln(2) / 2
  static float small_exp(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r + 1.0f;
  }

  // p 2^n, where `shifted` is n + kRoundFloat. It multiplies by two factors, because n from -163 to 128 exceeds the
  // exponent range of float32.
  static float times_power_of_two(float p, float shifted) {
    const int32_t exponent = static_cast<int32_t>(bit_cast<uint32_t>(shifted) - bit_cast<uint32_t>(kRoundFloat));
    const int32_t half = exponent >> 1;
    const float scale1 = bit_cast<float>(static_cast<uint32_t>(half + 127) << 23);
    const float scale2 = bit_cast<float>((static_cast<uint32_t>(exponent) - static_cast<uint32_t>(half) + 127u) << 23);
    return p * scale1 * scale2;
  }

  // exp(x) = 2^n exp(r) with n = round(x / ln 2), |r| <= ln(2) / 2. 1 ulp (0.98).
  static float exp(float x) {
    float bounded = x < -104.0f ? -104.0f : x;  // exp is 0 below -104 and infinite above 89; propagates NaN
    bounded = bounded > 89.0f ? 89.0f : bounded;
    const float shifted = bounded * 1.44269504f + kRoundFloat;
    return times_power_of_two(small_exp(less_multiple_of_ln2(bounded, shifted - kRoundFloat)), shifted);
  }

  // log(x) = e ln 2 + log(1 + f) with x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2). 1 ulp (0.76).
  static float log(float x) {
    const bool tiny = x < 1.17549435e-38f;  // subnormal numbers are scaled up by 2^23 first
    const float scaled = tiny ? x * 8388608.0f : x;
    const uint32_t bits = bit_cast<uint32_t>(scaled);
    const int32_t exponent = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
    const float e = static_cast<float>(exponent) - (tiny ? 23.0f : 0.0f);
    const float f = bit_cast<float>(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
    const float z = f * f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * z;
    p = p + e * -2.12194440e-4f;
    p = p - 0.5f * z;
    float result = f + p + e * 0.693359375f;
    result = x < INFINITY ? result : x;  // infinity and NaN
    result = x == 0.0f ? -INFINITY : result;
    return x < 0.0f ? NAN : result;
  }

  // x = n pi/2 + r, |r| <= pi/4, for |x| up to 2^28 pi/2: n times the first part of pi/2, which has 25 bits, is exact
  // in float64 (the reduction of FreeBSD's e_rem_pio2f.c). For larger |x|, the C library's sin and cos are called
  // instead.
  static constexpr float kLargestAngle = 4e8f;

  struct Quadrant {
    float sine, cosine;  // of r
    uint32_t n;
  };

  static Quadrant reduce_angle(float x) {
    const double shifted = static_cast<double>(x) * 6.36619772367581382433e-01 + kRoundDouble;
    const double n = shifted - kRoundDouble;
    const double reduced = static_cast<double>(x) - n * 1.57079631090164184570 - n * 1.58932547735281966916e-08;
    const float r = static_cast<float>(reduced);
    const float z = r * r;
    const float magnitude = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    const float sine = with_sign(magnitude, r);  // restores the sign of -0, which adding zeros loses
    const float cosine =
        ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
    return {sine, cosine, static_cast<uint32_t>(bit_cast<uint64_t>(shifted))};
  }

  // 2 ulp (1.53), and the same for cos.
  static float sin(float x) {
    const Quadrant q = reduce_angle(x);
    return bit_cast<float>(bit_cast<uint32_t>(q.n & 1 ? q.cosine : q.sine) ^ ((q.n & 2) << 30));
  }

  static float cos(float x) {
    const Quadrant q = reduce_angle(x);
    return bit_cast<float>(bit_cast<uint32_t>(q.n & 1 ? q.sine : q.cosine) ^ (((q.n + 1) & 2) << 30));
  }

  // Odd polynomial near 0, else 1 - 2 / (exp(2 |x|) + 1), with the sign of x (also for zeros). 1.5 ulp (1.25).
  static float tanh(float x) {
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * x + x;
    const float magnitude = std::fabs(x);
    const float far = 1.0f - 2.0f / (exp(2.0f * magnitude) + 1.0f);
    return with_sign(magnitude < 0.625f ? p : far, x);
  }

  // 1 / (1 + exp(-x)), computed from exp(-|x|) so that both tails stay accurate. 2.5 ulp (2.18).
  static float sigmoid(float x) {
    const float e = exp(-std::fabs(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }

  // Two minimax polynomials by N. Juffa: x + x P(x^2) near 0, else 1 - exp(-Q(|x|)) with the sign of x. 1.5 ulp
  // (1.13).
  static float erf(float x) {
    const float t = std::fabs(x), s = x * x;
    float far = -1.72853470e-5f * t + 3.83197126e-4f;
    const float u = -3.88396438e-3f * t + 2.42546219e-2f;
    far = far * s + u;
    far = far * t - 1.06777877e-1f;
    far = far * t - 6.34846687e-1f;
    far = far * t - 1.28717512e-1f;
    far = far * t - t;
    far = with_sign(1.0f - exp(far), x);
    float near = -5.96761703e-4f;
    near = near * s + 4.99119423e-3f;
    near = near * s - 2.67681349e-2f;
    near = near * s + 1.12819925e-1f;
    near = near * s - 3.76125336e-1f;
    near = near * s + 1.28379166e-1f;
    near = near * x + x;
    return t > 0.921875f ? far : near;
  }

  // Q(t) for t = 0..15, from which gelu and its derivative follow as in gelu.h: P(X > t) = e^(-t^2 / 2) Q(t) and
  // p(t) = e^(-t^2 / 2) / sqrt(2 pi). Q(t) (t + 4) is a minimax polynomial in (t - 4) / (t + 4) with an error of 1e-8.
  static float normal_tail_factor(float t) {
    const float inverse = 1.0f / (t + 4.0f), u = (t - 4.0f) * inverse;
    float q = -1.34196074e-4f;
    q = q * u + 1.74659624e-4f;
    q = q * u + 1.56840810e-3f;
    q = q * u - 3.51021136e-3f;
    q = q * u - 7.52400421e-3f;
    q = q * u + 6.04034886e-2f;
    q = q * u - 1.86523661e-1f;
    q = q * u + 3.87136906e-1f;
    q = q * u - 6.07896566e-1f;
    q = q * u + 7.55285144e-1f;
    return q * inverse;
  }

  // factor e^(-t^2 / 2), with t^2 split into two parts for accuracy.
  static float times_normal(float factor, float t) {
    const float leading = leading_half(t);
    const float x = -0.5f * leading * leading, rest = -0.5f * (t - leading) * (t + leading);
    const float shifted = (x + rest) * 1.44269504f + kRoundFloat;
    return times_power_of_two(factor * small_exp(less_multiple_of_ln2(x, shifted - kRoundFloat) + rest), shifted);
  }

  // 6 ulp (5.6).
  static float gelu(float a) {
    const float t = bounded_magnitude(a), below = times_normal(t * normal_tail_factor(t), t);
    return with_sign(a > 0.0f ? a - below : below, a);
  }

  // 8 ulp (6.7); 1 epsilon (0.78) near its root at -0.75.
  static float gelu_derivative(float a) {
    const float t = bounded_magnitude(a), below = times_normal(normal_tail_factor(t) - t * 0.398942280f, t);
    return a < 0.0f ? below : 1.0f - below;
  }

  // Error bounds: exp, log, sin and cos 1 ulp (0.52); erf 1.5 (0.97); tanh 2.5 (2.01); sigmoid 2.5 (2.00); gelu 5
  // (3.3), but 48 (42) near the subnormal numbers; gelu's derivative 8 (6.7), with 1 epsilon (0.52) near its root.
  static double exp(double x) { return std::exp(x); }
  static double log(double x) { return std::log(x); }
  static double sin(double x) { return std::sin(x); }
  static double cos(double x) { return std::cos(x); }
  static double tanh(double x) { return std::tanh(x); }
  static double erf(double x) { return std::erf(x); }
  static double sigmoid(double x) {
    const double e = std::exp(-std::fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
  }
  static double gelu(double a) { return needle::gelu(a); }
  static double gelu_derivative(double a) { return needle::gelu_derivative(a); }
};

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
