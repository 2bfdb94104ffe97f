// out = a: makes strided arrays compact, fills, broadcasts, and converts dtypes.
#include <cmath>

#include "kernels/common/convert.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

// To the next float32 towards zero, with the last bit set if that was not exact. Rounding the result to float16 then
// gives what rounding the float64 itself would ("round to odd", Boldo and Melquiond 2008).
struct ToOddFloat {
  static __device__ float apply(double a) {
    const float nearest = static_cast<float>(a);
    if (!(std::fabs(nearest) < INFINITY) || static_cast<double>(nearest) == a) return nearest;
    uint32_t bits = __float_as_uint(nearest);
    if (std::fabs(static_cast<double>(nearest)) > std::fabs(a)) --bits;
    return __uint_as_float(bits | 1);
  }
};

struct Same { template <class T> static __device__ T apply(T a) { return a; } };

template <class From, class To>
void convert(const Array& a, const Array& out) {
  if constexpr (std::is_same_v<From, double> && std::is_same_v<To, float16>)
    elementwise<To, From>(ToOddFloat{}, out, a);
  else  // to bfloat16 rounded twice on the way from float64, as ml_dtypes does
    elementwise<To, From>(Convert<Compute<To>>{}, out, a);
}

}  // namespace

void copy(const Array& a, const Array& out) {
  check_broadcast("copy", {"a", a}, {"out", out});
  if (a.dtype == out.dtype) {  // the bits are all that counts
    switch (itemsize(a.dtype)) {
      case 1: return elementwise<uint8_t, uint8_t>(Same{}, out, a);
      case 2: return elementwise<uint16_t, uint16_t>(Same{}, out, a);
      case 4: return elementwise<uint32_t, uint32_t>(Same{}, out, a);
      default: return elementwise<uint64_t, uint64_t>(Same{}, out, a);
    }
  }
  dispatch(a.dtype, [&](auto from) {
    dispatch(out.dtype, [&](auto to) { convert<decltype(from), decltype(to)>(a, out); });
  });
}

}  // namespace needle::cuda
