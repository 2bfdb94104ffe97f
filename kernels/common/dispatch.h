// Maps a run-time dtype to a C++ type: dispatch(dtype, [&](auto zero) { using T = decltype(zero); ... }).
#pragma once

#include "kernels/common/dtype.h"

namespace needle {

template <class Function>
void dispatch(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::float32: return function(float{});
    case DType::float64: return function(double{});
    case DType::float16: return function(float16{});
    case DType::bfloat16: return function(bfloat16{});
    case DType::int8: return function(int8_t{});
    case DType::uint8: return function(uint8_t{});
    case DType::int32: return function(int32_t{});
    case DType::int64: return function(int64_t{});
    case DType::boolean: return function(bool{});
  }
}

template <class Function>
void dispatch_floating(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::float32: return function(float{});
    case DType::float64: return function(double{});
    case DType::float16: return function(float16{});
    case DType::bfloat16: return function(bfloat16{});
    default: return;  // no such operand gets here (checks.h)
  }
}

}  // namespace needle
