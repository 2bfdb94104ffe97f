// Element-wise kernels with one operand.
#include <cmath>

#include "kernels/common/gelu.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

// Integers compute in the unsigned type, where overflow wraps.
struct Negate {
  template <class T>
  static __device__ T apply(T a) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(0u - static_cast<std::make_unsigned_t<T>>(a));
    else return -a;
  }
};

struct Abs {
  template <class T>
  static __device__ T apply(T a) {
    if constexpr (std::is_integral_v<T>) return a < 0 ? Negate::apply(a) : a;
    else return std::fabs(a);
  }
};

struct Sign {
  template <class T>
  static __device__ T apply(T a) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>((a > 0) - (a < 0));
    else return a > 0 ? T{1} : a < 0 ? T{-1} : a != a ? a : T{0};
  }
};

struct Relu {
  template <class T>
  static __device__ T apply(T a) { return T{0} > a ? T{0} : a; }  // NaN passes
};

// Of two forms of 1 / (1 + e^-a), the one whose exponential does not overflow.
struct Sigmoid {
  template <class T>
  static __device__ T apply(T a) {
    const T e = std::exp(-std::fabs(a));
    return (a < 0 ? e : T{1}) / (1 + e);
  }
};

// clang-format off
struct Floor { template <class T> static __device__ T apply(T a) { return std::floor(a); } };
struct Ceil { template <class T> static __device__ T apply(T a) { return std::ceil(a); } };
struct Sqrt { template <class T> static __device__ T apply(T a) { return std::sqrt(a); } };
struct Exp { template <class T> static __device__ T apply(T a) { return std::exp(a); } };
struct Log { template <class T> static __device__ T apply(T a) { return std::log(a); } };
struct Sin { template <class T> static __device__ T apply(T a) { return std::sin(a); } };
struct Cos { template <class T> static __device__ T apply(T a) { return std::cos(a); } };
struct Tanh { template <class T> static __device__ T apply(T a) { return std::tanh(a); } };
struct Erf { template <class T> static __device__ T apply(T a) { return std::erf(a); } };
struct Not { static __device__ bool apply(bool a) { return !a; } };
// clang-format on

template <class Operation>
void number(const char* op, const Array& a, const Array& out) {
  check_not_bool(op, {"a", a});
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, bool>) elementwise<T, T>(Operation{}, out, a);
  });
}

template <class Operation>
void floating(const char* op, const Array& a, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  check_broadcast(op, {"a", a}, {"out", out});
  dispatch_floating(op, a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T>(Operation{}, out, a);
  });
}

}  // namespace

void negate(const Array& a, const Array& out) { number<Negate>("negate", a, out); }
void abs(const Array& a, const Array& out) { number<Abs>("abs", a, out); }
void sign(const Array& a, const Array& out) { number<Sign>("sign", a, out); }
void relu(const Array& a, const Array& out) { number<Relu>("relu", a, out); }

void floor(const Array& a, const Array& out) { floating<Floor>("floor", a, out); }
void ceil(const Array& a, const Array& out) { floating<Ceil>("ceil", a, out); }
void sqrt(const Array& a, const Array& out) { floating<Sqrt>("sqrt", a, out); }
void exp(const Array& a, const Array& out) { floating<Exp>("exp", a, out); }
void log(const Array& a, const Array& out) { floating<Log>("log", a, out); }
void sin(const Array& a, const Array& out) { floating<Sin>("sin", a, out); }
void cos(const Array& a, const Array& out) { floating<Cos>("cos", a, out); }
void tanh(const Array& a, const Array& out) { floating<Tanh>("tanh", a, out); }
void sigmoid(const Array& a, const Array& out) { floating<Sigmoid>("sigmoid", a, out); }
void erf(const Array& a, const Array& out) { floating<Erf>("erf", a, out); }
void gelu(const Array& a, const Array& out) { floating<Gelu>("gelu", a, out); }

void logical_not(const Array& a, const Array& out) {
  check_dtype("logical_not", {"a", a}, DType::boolean);
  check_dtype("logical_not", {"out", out}, DType::boolean);
  check_broadcast("logical_not", {"a", a}, {"out", out});
  elementwise<bool, bool>(Not{}, out, a);
}

}  // namespace needle::cuda
