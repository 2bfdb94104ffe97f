// out = a: makes strided arrays compact, fills, broadcasts and converts dtypes.
#include "kernels/common/convert.h"
#include "kernels/cpu/elementwise.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

template <class T>
void copy_loop(int64_t n, void* const* operands, const void*) {
  std::memmove(operands[0], operands[1], n * sizeof(T));
}

template <class From>
Loop convert_loop(DType to) {
  switch (to) {
    case DType::float16:
    case DType::bfloat16:
      if constexpr (std::is_same_v<From, double>) return unary_loop<ToOddFloat, double, float>;
      [[fallthrough]];
    case DType::float32: return unary_loop<Convert<float>, From, float>;
    case DType::float64: return unary_loop<Convert<double>, From, double>;
    case DType::int8: return unary_loop<Convert<int8_t>, From, int8_t>;
    case DType::uint8: return unary_loop<Convert<uint8_t>, From, uint8_t>;
    case DType::int32: return unary_loop<Convert<int32_t>, From, int32_t>;
    case DType::int64: return unary_loop<Convert<int64_t>, From, int64_t>;
    case DType::boolean: break;
  }
  return unary_loop<Convert<bool>, From, bool>;
}

}  // namespace

CostedLoop copy_loop_of(DType from, DType to) {
  CostedLoop run;
  dispatch(from, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    const bool as_is = from == to && from != DType::boolean;
    run.loop = as_is ? copy_loop<Stored<T>> : convert_loop<T>(to);
  });
  return run;
}

void copy(const Array& a, const Array& out) {
  if (a.is_half_scalar()) return copy(Array::scalar(*a.data<double>(), DType::float64), out);
  run_unary(copy_loop_of(a.dtype, out.dtype), a, out);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
