// out = a: makes strided arrays compact, fills, broadcasts, and converts dtypes.
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

template <class To>
struct Convert {
  template <class From>
  static To apply(From a) {
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

// To the next float32 towards zero, with the last bit set if that was not exact. Rounding the result to float16 then
// gives what rounding the float64 itself would ("round to odd", Boldo and Melquiond 2008).
struct ToOddFloat {
  static float apply(double a) {
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

template <class T>
void copy_loop(int64_t n, void* const* operands, const void*) {
  std::memmove(operands[0], operands[1], n * sizeof(T));
}

template <class From>
Loop convert_loop(DType to) {
  switch (to) {
    case DType::float16:
      if constexpr (std::is_same_v<From, double>) return unary_loop<ToOddFloat, double, float>;
      [[fallthrough]];
    case DType::bfloat16:  // rounded twice on the way from float64, as ml_dtypes does
    case DType::float32: return unary_loop<Convert<float>, From, float>;
    case DType::float64: return unary_loop<Convert<double>, From, double>;
    case DType::int8: return unary_loop<Convert<int8_t>, From, int8_t>;
    case DType::uint8: return unary_loop<Convert<uint8_t>, From, uint8_t>;
    case DType::int32: return unary_loop<Convert<int32_t>, From, int32_t>;
    case DType::int64: return unary_loop<Convert<int64_t>, From, int64_t>;
    default: return unary_loop<Convert<bool>, From, bool>;
  }
}

}  // namespace

void copy(const Array& a, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool as_is = a.dtype == out.dtype && a.dtype != DType::boolean;
    run_unary("copy", as_is ? copy_loop<Stored<Compute<T>>> : convert_loop<Compute<T>>(out.dtype), 1, a, out);
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
