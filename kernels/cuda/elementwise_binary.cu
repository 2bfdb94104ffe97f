// Element-wise kernels with two operands of one dtype and a result of the same dtype.
#include "kernels/common/binary_operations.h"
#include "kernels/common/gelu.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

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

template <class Operation>
void floating(const char* op, const Array& a, const Array& b, const Array& out) {
  check_operands(op, a, b, out);
  dispatch_floating(op, a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Operation{}, out, a, b);
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

void divide(const Array& a, const Array& b, const Array& out) { floating<Divide>("divide", a, b, out); }
void gelu_backward(const Array& grad_out, const Array& a, const Array& out) {
  floating<GeluBackward>("gelu_backward", grad_out, a, out);
}

void lerp(const Array& a, const Array& b, double weight, const Array& out) {
  check_operands("lerp", a, b, out);
  dispatch_floating("lerp", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    elementwise<T, T, T>(Lerp<Compute<T>>{static_cast<Compute<T>>(weight)}, out, a, b);
  });
}

}  // namespace needle::cuda
