// Element-wise kernels with one operand.
#include <type_traits>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Integers compute in the unsigned type, where overflow wraps.
struct Negate {
  template <class T>
  static T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(0u - static_cast<std::make_unsigned_t<T>>(a));
    else
      return -a;
  }
};

struct Abs {
  template <class T>
  static T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return a < 0 ? Negate::apply(a) : a;
    else
      return std::fabs(a);
  }
};

struct Sign {
  template <class T>
  static T apply(T a) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>((a > 0) - (a < 0));
    else
      return a > 0 ? T{1} : a < 0 ? T{-1} : a != a ? a : T{0};
  }
};

struct Relu {
  template <class T>
  static T apply(T a) {
    return T{0} > a ? T{0} : a;  // NaN passes
  }
};

// clang-format off
struct Floor { template <class T> static T apply(T a) { return std::floor(a); } };
struct Ceil { template <class T> static T apply(T a) { return std::ceil(a); } };
struct Sqrt { template <class T> static T apply(T a) { return std::sqrt(a); } };
struct Exp { template <class T> static T apply(T a) { return math::exp(a); } };
struct Log { template <class T> static T apply(T a) { return math::log(a); } };
struct Sin { template <class T> static T apply(T a) { return math::sin(a); } };
struct Cos { template <class T> static T apply(T a) { return math::cos(a); } };
struct Tanh { template <class T> static T apply(T a) { return math::tanh(a); } };
struct Sigmoid { template <class T> static T apply(T a) { return math::sigmoid(a); } };
struct Erf { template <class T> static T apply(T a) { return math::erf(a); } };
struct Gelu { template <class T> static T apply(T a) { return math::gelu(a); } };
// clang-format on

// float32 angles too large for math::sin and math::cos, infinity and NaN send a chunk to the C library.
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

template <class Operation>
void number(const char* op, const Array& a, const Array& out) {
  check_not_bool(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (!std::is_same_v<T, bool>) run_unary(op, unary_loop<Operation, T, T>, 1, a, out);
  });
}

template <class Operation>
void floating(const char* op, int cost, const Array& a, const Array& out,
              Loop float_loop = unary_loop<Operation, float, float>) {
  check_floating(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  run_unary(op, a.dtype == DType::float64 ? unary_loop<Operation, double, double> : float_loop, cost, a, out);
}

}  // namespace

void negate(const Array& a, const Array& out) { number<Negate>("negate", a, out); }
void abs(const Array& a, const Array& out) { number<Abs>("abs", a, out); }
void sign(const Array& a, const Array& out) { number<Sign>("sign", a, out); }
void relu(const Array& a, const Array& out) { number<Relu>("relu", a, out); }

void floor(const Array& a, const Array& out) { floating<Floor>("floor", 1, a, out); }
void ceil(const Array& a, const Array& out) { floating<Ceil>("ceil", 1, a, out); }
void sqrt(const Array& a, const Array& out) { floating<Sqrt>("sqrt", 2, a, out); }
void exp(const Array& a, const Array& out) { floating<Exp>("exp", 4, a, out); }
void log(const Array& a, const Array& out) { floating<Log>("log", 4, a, out); }
void sin(const Array& a, const Array& out) { floating<Sin>("sin", 8, a, out, angle_loop<Sin, exact_sin>); }
void cos(const Array& a, const Array& out) { floating<Cos>("cos", 8, a, out, angle_loop<Cos, exact_cos>); }
void tanh(const Array& a, const Array& out) { floating<Tanh>("tanh", 6, a, out); }
void sigmoid(const Array& a, const Array& out) { floating<Sigmoid>("sigmoid", 6, a, out); }
void erf(const Array& a, const Array& out) { floating<Erf>("erf", 6, a, out); }
void gelu(const Array& a, const Array& out) { floating<Gelu>("gelu", 8, a, out); }

}  // namespace needle::cpu::NEEDLE_LEVEL
