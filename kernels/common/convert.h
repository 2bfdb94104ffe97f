// Conversions of numbers between dtypes, shared by all backends.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/common/host_device.h"

namespace needle {

// Rounds a float64 to float32 towards zero and sets the last bit if that was inexact ("round to odd", Boldo and
// Melquiond 2008). Rounding the result to a half type then gives the same value as rounding the float64 directly.
struct ToOddFloat {
  static NEEDLE_HOST_DEVICE float apply(double a) {
    const float nearest = static_cast<float>(a);
    if (!(std::fabs(nearest) < INFINITY) || static_cast<double>(nearest) == a) return nearest;
    uint32_t bits;
    std::memcpy(&bits, &nearest, sizeof bits);
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(a)) --bits;
    bits |= 1;
    float odd;
    std::memcpy(&odd, &bits, sizeof odd);
    return odd;
  }
};

template <class To>
struct Convert {
  template <class From>
  static NEEDLE_HOST_DEVICE To apply(From a) {
    if constexpr (std::is_same_v<To, bool>) {
      return a != From{0};
    } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
      // Clamps to To's range, because converting an out-of-range value is undefined in C++; NaN becomes 0. The bounds
      // are powers of two (or 0), so From represents them exactly.
      constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
      constexpr From high =
          -low + (std::is_signed_v<To> ? From{0} : static_cast<From>(std::numeric_limits<To>::max()) + 1);
      const From inside = (a > low) & (a < high) ? a : From{0};
      const To converted = static_cast<To>(inside);
      return a >= high ? std::numeric_limits<To>::max() : a <= low ? std::numeric_limits<To>::min() : converted;
    } else {
      return static_cast<To>(a);
    }
  }
};

}  // namespace needle
