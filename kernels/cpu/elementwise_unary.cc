// Element-wise kernels with one operand.
#include "kernels/common/unary_operations.h"

#include <cstring>
#include <type_traits>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The loop for float32.
template <class Operation>
constexpr Loop float_loop = unary_loop<Operation, float, float>;

// Falls back to the C library for infinity, NaN, and angles too large for math::sin and math::cos. What becomes of a
// number does not depend on its neighbours, and so neither on how a loop is divided into chunks.
template <class Operation, float (*exact)(float)>
void angle_loop(int64_t n, void* const* operands, const void* context) {
  constexpr int64_t kBlock = 64;
  auto* out = static_cast<float*>(operands[0]);
  auto* a = static_cast<const float*>(operands[1]);
  int small = 1;
  for (int64_t i = 0; i < n; ++i) small &= std::fabs(a[i]) < math::kLargestAngle;
  if (small) return unary_loop<Operation, float, float>(n, operands, context);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = n - begin < kBlock ? n - begin : kBlock;
    float angles[kBlock];  // because `out` may be `a`
    std::memcpy(angles, a + begin, count * sizeof(float));
    void* const block[] = {out + begin, angles};
    unary_loop<Operation, float, float>(count, block, context);
    for (int64_t i = 0; i < count; ++i)
      if (!(std::fabs(angles[i]) < math::kLargestAngle)) out[begin + i] = exact(angles[i]);
  }
}

float exact_sin(float x) { return std::sin(x); }
float exact_cos(float x) { return std::cos(x); }

template <>
constexpr Loop float_loop<Sin<math>> = angle_loop<Sin<math>, exact_sin>;
template <>
constexpr Loop float_loop<Cos<math>> = angle_loop<Cos<math>, exact_cos>;

template <class Operation>
CostedLoop numbers(DType dtype) {
  CostedLoop run{nullptr, kCost<Operation>};
  dispatch(dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (!std::is_same_v<T, bool>) run.loop = unary_loop<Operation, T, T>;
  });
  return run;
}

template <class Operation>
CostedLoop floating(DType dtype) {
  const Loop loop = dtype == DType::float64 ? unary_loop<Operation, double, double> : float_loop<Operation>;
  return {loop, kCost<Operation>};
}

template <class Operation>
CostedLoop boolean(DType) {
  return {unary_loop<Operation, bool, bool>, kCost<Operation>};
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& out) { run_unary(dtypes<Operation<math>>(a.dtype), a, out); }
NEEDLE_UNARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

CostedLoop unary_loop_of(ElementKernel kernel, DType dtype) {
  switch (kernel) {
#define NEEDLE_CASE(name, Operation, dtypes) \
  case ElementKernel::name: return dtypes<Operation<math>>(dtype);
    NEEDLE_UNARY_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
    default: return {};
  }
}

}  // namespace needle::cpu::NEEDLE_LEVEL
