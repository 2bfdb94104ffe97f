// out = a: makes strided arrays compact, fills, broadcasts and converts dtypes.
#include "kernels/common/convert.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

struct Same {
  template <class T>
  static __device__ T apply(T a) {
    return a;
  }
};

template <class From, class To>
void convert(const Array& a, const Array& out) {
  if constexpr (std::is_same_v<From, double> && is_floating<To> && sizeof(To) == 2)
    elementwise<To, From>(ToOddFloat{}, out, a);
  else
    elementwise<To, From>(Convert<Compute<To>>{}, out, a);
}

}  // namespace

void copy(const Array& a, const Array& out) {
  if (a.is_half_scalar()) return copy(Array::scalar(*a.data<double>(), DType::float64), out);
  if (a.dtype == out.dtype) {  // copies bits, regardless of the dtype
    switch (itemsize(a.dtype)) {
      case 1: return elementwise<uint8_t, uint8_t>(Same{}, out, a);
      case 2: return elementwise<uint16_t, uint16_t>(Same{}, out, a);
      case 4: return elementwise<uint32_t, uint32_t>(Same{}, out, a);
      default: return elementwise<uint64_t, uint64_t>(Same{}, out, a);
    }
  }
  dispatch(a.dtype,
           [&](auto from) { dispatch(out.dtype, [&](auto to) { convert<decltype(from), decltype(to)>(a, out); }); });
}

}  // namespace needle::cuda
