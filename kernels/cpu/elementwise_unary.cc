// Element-wise kernels with one operand.
#include "kernels/common/unary_operations.h"

#include <type_traits>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The loop for float32.
template <class Operation>
constexpr Loop float_loop = unary_loop<Operation, float, float>;

// Falls back to the C library for chunks with infinity, NaN, or angles too large for math::sin and math::cos.
template <class Operation, float (*exact)(float)>
void angle_loop(int64_t n, void* const* operands, const void* context) {
  auto* out = static_cast<float*>(operands[0]);
  auto* a = static_cast<const float*>(operands[1]);
  int small = 1;
  for (int64_t i = 0; i < n; ++i) small &= std::fabs(a[i]) < math::kLargestAngle;
  if (small) return unary_loop<Operation, float, float>(n, operands, context);
  for (int64_t i = 0; i < n; ++i) out[i] = exact(a[i]);
}

float exact_sin(float x) { return std::sin(x); }
float exact_cos(float x) { return std::cos(x); }

template <>
constexpr Loop float_loop<Sin<math>> = angle_loop<Sin<math>, exact_sin>;
template <>
constexpr Loop float_loop<Cos<math>> = angle_loop<Cos<math>, exact_cos>;

template <class Operation>
void numbers(const Array& a, const Array& out) {
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (!std::is_same_v<T, bool>) run_unary(unary_loop<Operation, T, T>, kCost<Operation>, a, out);
  });
}

template <class Operation>
void floating(const Array& a, const Array& out) {
  const Loop loop = a.dtype == DType::float64 ? unary_loop<Operation, double, double> : float_loop<Operation>;
  run_unary(loop, kCost<Operation>, a, out);
}

template <class Operation>
void boolean(const Array& a, const Array& out) {
  run_unary(unary_loop<Operation, bool, bool>, kCost<Operation>, a, out);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& out) { dtypes<Operation<math>>(a, out); }
NEEDLE_UNARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

}  // namespace needle::cpu::NEEDLE_LEVEL
