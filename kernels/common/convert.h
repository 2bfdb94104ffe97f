// A number of one dtype as a number of another, on all backends.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/common/host_device.h"

namespace needle {

// To the next float32 towards zero, with the last bit set if that was not exact. Rounding the result to a half type then
// gives what rounding the float64 itself would ("round to odd", Boldo and Melquiond 2008).
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
      // C++ leaves the conversion of what does not fit undefined; 2^k at either end of To's range is exact in From.
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
