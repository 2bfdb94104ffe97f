// Elementary functions of a number on a GPU. In device code the std:: names call CUDA's own functions.
#pragma once

#include <cmath>

#include "kernels/common/gelu.h"

namespace needle::cuda {

struct math {
  // clang-format off
  template <class T> static NEEDLE_HOST_DEVICE T exp(T a) { return std::exp(a); }
  template <class T> static NEEDLE_HOST_DEVICE T log(T a) { return std::log(a); }
  template <class T> static NEEDLE_HOST_DEVICE T sin(T a) { return std::sin(a); }
  template <class T> static NEEDLE_HOST_DEVICE T cos(T a) { return std::cos(a); }
  template <class T> static NEEDLE_HOST_DEVICE T tanh(T a) { return std::tanh(a); }
  template <class T> static NEEDLE_HOST_DEVICE T erf(T a) { return std::erf(a); }
  template <class T> static NEEDLE_HOST_DEVICE T gelu(T a) { return needle::gelu(a); }
  template <class T> static NEEDLE_HOST_DEVICE T gelu_derivative(T a) { return needle::gelu_derivative(a); }
  // clang-format on

  // 1 / (1 + e^-a), in the form whose exponential does not overflow.
  template <class T>
  static NEEDLE_HOST_DEVICE T sigmoid(T a) {
    const T e = std::exp(-std::fabs(a));
    return (a < 0 ? e : T{1}) / (1 + e);
  }
};

}  // namespace needle::cuda
