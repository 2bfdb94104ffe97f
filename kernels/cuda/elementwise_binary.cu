// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include <cmath>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

template <class T, bool = std::is_integral_v<T> && !std::is_same_v<T, bool>>
struct ArithmeticType { using type = T; };
template <class T>
struct ArithmeticType<T, true> { using type = std::make_unsigned_t<T>; };
// Where T's arithmetic is done: integers wrap around, as unsigned ones do (and signed ones must not).
template <class T> using Arithmetic = typename ArithmeticType<T>::type;

struct Add {
  template <class T>
  static __device__ T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>) return a | b;
    else return static_cast<T>(Arithmetic<T>(a) + Arithmetic<T>(b));
  }
};

struct Subtract {
  template <class T>
  static __device__ T apply(T a, T b) { return static_cast<T>(Arithmetic<T>(a) - Arithmetic<T>(b)); }
};

struct Multiply {
  template <class T>
  static __device__ T apply(T a, T b) {
    if constexpr (std::is_same_v<T, bool>) return a & b;
    else return static_cast<T>(Arithmetic<T>(a) * Arithmetic<T>(b));
  }
};

struct Divide {
  template <class T>
  static __device__ T apply(T a, T b) { return a / b; }
};

// Both hand on NaN: a NaN in `a` by the second test, one in `b` because the first comparison fails.
struct Maximum {
  template <class T>
  static __device__ T apply(T a, T b) { return (a > b) | (a != a) ? a : b; }
};

struct Minimum {
  template <class T>
  static __device__ T apply(T a, T b) { return (a < b) | (a != a) ? a : b; }
};

struct AddRelu {
  template <class T>
  static __device__ T apply(T a, T b) {
    const T sum = Add::apply(a, b);
    return T{0} > sum ? T{0} : sum;  // NaN passes
  }
};

struct ReluBackward {
  template <class T>
  static __device__ T apply(T grad, T a) { return a > 0 ? grad : T{0}; }
};

// a = q b + r with integers q and r of b's sign, |r| < |b|. Floating results are those of NumPy's divmod.
struct Remainder {
  template <class T>
  static __device__ T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0 || (std::is_signed_v<T> && b == T(-1))) return 0;  // INT_MIN % -1 does not exist in C++
      const T r = static_cast<T>(a % b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
    } else {
      const T r = std::fmod(a, b);
      if (r == 0) return std::copysign(T{0}, b);
      return (r < 0) != (b < 0) ? r + b : r;
    }
  }
};

struct FloorDivide {
  template <class T>
  static __device__ T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return 0;
      if (std::is_signed_v<T> && b == T(-1)) return Subtract::apply<T>(0, a);
      const T q = static_cast<T>(a / b), r = static_cast<T>(a % b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(q - 1) : q;
    } else {
      if (b == 0) return a / b;
      const T r = std::fmod(a, b);
      T q = (a - r) / b;
      if (r != 0 && (r < 0) != (b < 0)) q -= 1;
      if (q == 0) return std::copysign(T{0}, a / b);
      const T whole = std::floor(q);
      return q - whole > T(0.5) ? whole + 1 : whole;  // q is off an integer by rounding only
    }
  }
};

struct Power {
  template <class T>
  static __device__ T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b < 0) {  // the exact result is a fraction, cut off; 0 has none
        if (a == 1) return 1;
        if (a == T(-1)) return b & 1 ? a : 1;
        return 0;
      }
      Arithmetic<T> result = 1, square = static_cast<Arithmetic<T>>(a);
      for (; b != 0; b = static_cast<T>(b >> 1)) {
        if (b & 1) result = Arithmetic<T>(result * square);
        square = Arithmetic<T>(square * square);
      }
      return static_cast<T>(result);
    } else {
      return std::pow(a, b);
    }
  }
};

template <class T>
struct Lerp {
  T weight;
  __device__ T apply(T a, T b) const { return a + weight * (b - a); }
};

void check_operands(const char* op, const Array& a, const Array& b, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  check_same_dtype(op, {"a", a}, {"b", b});
  check_broadcast(op, {"a", a}, {"out", out});
  check_broadcast(op, {"b", b}, {"out", out});
}

template <class Operation, bool bool_too = false>
void number(const char* op, const Array& a, const Array& b, const Array& out) {
  check_operands(op, a, b, out);
  if (!bool_too) check_not_bool(op, {"a", a});
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (bool_too || !std::is_same_v<T, bool>) elementwise<T, T, T>(Operation{}, out, a, b);
  });
}

}  // namespace

void add(const Array& a, const Array& b, const Array& out) { number<Add, true>("add", a, b, out); }
void subtract(const Array& a, const Array& b, const Array& out) { number<Subtract>("subtract", a, b, out); }
void multiply(const Array& a, const Array& b, const Array& out) { number<Multiply, true>("multiply", a, b, out); }
void maximum(const Array& a, const Array& b, const Array& out) { number<Maximum, true>("maximum", a, b, out); }
void minimum(const Array& a, const Array& b, const Array& out) { number<Minimum, true>("minimum", a, b, out); }
void add_relu(const Array& a, const Array& b, const Array& out) { number<AddRelu>("add_relu", a, b, out); }
void relu_backward(const Array& grad_out, const Array& a, const Array& out) {
  number<ReluBackward>("relu_backward", grad_out, a, out);
}
void remainder(const Array& a, const Array& b, const Array& out) { number<Remainder>("remainder", a, b, out); }
void floor_divide(const Array& a, const Array& b, const Array& out) { number<FloorDivide>("floor_divide", a, b, out); }
void power(const Array& a, const Array& b, const Array& out) { number<Power>("power", a, b, out); }

void divide(const Array& a, const Array& b, const Array& out) {
  check_operands("divide", a, b, out);
  dispatch_floating("divide", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Divide{}, out, a, b);
  });
}

void lerp(const Array& a, const Array& b, double weight, const Array& out) {
  check_operands("lerp", a, b, out);
  dispatch_floating("lerp", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Lerp<Compute<T>>{static_cast<Compute<T>>(weight)}, out, a, b);
  });
}

}  // namespace needle::cuda
