// The nine element types. float16 and bfloat16 are storage types: arithmetic on them is done in float32.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace needle {

// Must have the same order as in needle/backend_ndarray/dtype.py.
enum class DType { float32, float64, float16, bfloat16, int8, uint8, int32, int64, boolean };

#ifdef __CUDACC__  // the same bits, with conversions that run on a GPU
using float16 = __half;
using bfloat16 = __nv_bfloat16;
#else
using float16 = _Float16;

// The upper half of a float32: 1 sign, 8 exponent and 7 mantissa bits. Rounds to nearest even; NaN stays NaN.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  bfloat16(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    const uint32_t rounded = word + 0x7fff + ((word >> 16) & 1);
    bits = static_cast<uint16_t>((value != value ? (word | 0x400000) : rounded) >> 16);
  }
  operator float() const {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};
#endif

inline constexpr int kNumDTypes = 9;
int64_t itemsize(DType dtype);
inline bool is_half_dtype(DType dtype) { return dtype == DType::float16 || dtype == DType::bfloat16; }
inline bool is_floating_dtype(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || is_half_dtype(dtype);
}
inline constexpr int64_t kByteValues = 256;  // that a uint8 has
const char* name(DType dtype);

// The type that arithmetic on T is done in.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<float16> {
  using type = float;
};
template <>
struct ComputeType<bfloat16> {
  using type = float;
};
template <class T>
using Compute = typename ComputeType<T>::type;

template <class T>
inline constexpr bool is_floating = false;
template <>
inline constexpr bool is_floating<float> = true;
template <>
inline constexpr bool is_floating<double> = true;
template <>
inline constexpr bool is_floating<float16> = true;
template <>
inline constexpr bool is_floating<bfloat16> = true;

}  // namespace needle
