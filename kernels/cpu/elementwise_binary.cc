// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include <cmath>
#include <type_traits>

#include "kernels/common/binary_operations.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Powers that need no logarithm. `power` uses them if the exponent is a scalar.
// clang-format off
struct PowerOne { template <class T> static T apply(T a) { return a; } };
struct PowerTwo { template <class T> static T apply(T a) { return a * a; } };
struct PowerThree { template <class T> static T apply(T a) { return a * a * a; } };
struct PowerMinusOne { template <class T> static T apply(T a) { return 1 / a; } };
struct PowerMinusTwo { template <class T> static T apply(T a) { return (1 / a) * (1 / a); } };  // a * a may overflow
// clang-format on

// As with std::pow, -0 and -infinity give 0 and infinity; std::sqrt alone would give -0 and NaN.
struct PowerHalf {
  template <class T>
  static T apply(T a) {
    return a == -INFINITY ? T(INFINITY) : std::sqrt(a + T{0});
  }
};

struct PowerMinusHalf {
  template <class T>
  static T apply(T a) {
    return a == -INFINITY ? T{0} : 1 / std::sqrt(a + T{0});
  }
};

template <class T>
Loop power_loop(T exponent) {
  if (exponent == T(1)) return unary_loop<PowerOne, T, T>;
  if (exponent == T(2)) return unary_loop<PowerTwo, T, T>;
  if (exponent == T(3)) return unary_loop<PowerThree, T, T>;
  if (exponent == T(0.5)) return unary_loop<PowerHalf, T, T>;
  if (exponent == T(-0.5)) return unary_loop<PowerMinusHalf, T, T>;
  if (exponent == T(-1)) return unary_loop<PowerMinusOne, T, T>;
  if (exponent == T(-2)) return unary_loop<PowerMinusTwo, T, T>;
  return nullptr;
}

using GeluBackward = GeluBackwardOf<math>;

template <class T>
void single_power_loop(int64_t n, void* const* operands, const void* context) {
  const Loop loop = power_loop(*static_cast<const T*>(operands[2]));
  (loop ? loop : binary_loop<Power, T, T>)(n, operands, context);
}

template <class Operation>
CostedLoop any(DType dtype) {
  CostedLoop run{nullptr, kCost<Operation>};
  dispatch(dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    run.loop = binary_loop<Operation, T, T>;
  });
  return run;
}

template <class Operation>
CostedLoop numbers(DType dtype) {
  CostedLoop run{nullptr, kCost<Operation>};
  dispatch(dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (!std::is_same_v<T, bool>) run.loop = binary_loop<Operation, T, T>;
  });
  return run;
}

template <class Operation>
CostedLoop floating(DType dtype) {
  const Loop loop =
      dtype == DType::float64 ? binary_loop<Operation, double, double> : binary_loop<Operation, float, float>;
  return {loop, kCost<Operation>};
}

template <class Operation>
CostedLoop boolean(DType) {
  return {binary_loop<Operation, bool, bool>, kCost<Operation>};
}

template <class Operation>
void run(CostedLoop loop, const Array& a, const Array& b, const Array& out) {
  if constexpr (std::is_same_v<Operation, Power>)
    if (const CostedLoop faster = power_loop_of(b); faster.loop) return run_unary(faster, a, out);
  run_binary(loop, a, b, out);
}

}  // namespace

#define NEEDLE_DEFINE(name, Operation, dtypes) \
  void name(const Array& a, const Array& b, const Array& out) { run<Operation>(dtypes<Operation>(a.dtype), a, b, out); }
NEEDLE_BINARY_KERNELS(NEEDLE_DEFINE)
#undef NEEDLE_DEFINE

CostedLoop binary_loop_of(ElementKernel kernel, DType dtype) {
  switch (kernel) {
#define NEEDLE_CASE(name, Operation, dtypes) \
  case ElementKernel::name: return dtypes<Operation>(dtype);
    NEEDLE_BINARY_KERNELS(NEEDLE_CASE)
#undef NEEDLE_CASE
    default: return {};
  }
}

CostedLoop power_loop_of(const Array& exponent) {
  CostedLoop run;
  if (exponent.ndim == 0)
    dispatch_floating(exponent.dtype, [&](auto zero) { run.loop = power_loop(exponent.number<decltype(zero)>()); });
  return run;
}

CostedLoop single_power_loop_of(DType dtype) {
  CostedLoop run;
  dispatch_floating(dtype, [&](auto zero) { run.loop = single_power_loop<Compute<decltype(zero)>>; });
  return run;
}

}  // namespace needle::cpu::NEEDLE_LEVEL
