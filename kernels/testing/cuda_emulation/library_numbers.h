// Shared by the stand-ins for cuBLAS and cuDNN: numbers of any dtype, and call counts.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace cuda_emulation {

// Counts a call of a library function, under its name or name/algorithm.
void count_call(const char* name, int algorithm = -1);

enum class Number { float32, float64, float16, bfloat16 };

inline float upper_half(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

inline double load(Number type, const void* data, int64_t index) {
  switch (type) {
    case Number::float32: return static_cast<const float*>(data)[index];
    case Number::float64: return static_cast<const double*>(data)[index];
    case Number::float16: return static_cast<double>(static_cast<const _Float16*>(data)[index]);
    default: return upper_half(static_cast<const uint16_t*>(data)[index]);
  }
}

// float32 without its lowest bits, rounded to nearest even.
inline float without_bits(float value, int bits) {
  uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  if (!std::isfinite(value)) return value;
  word += (1u << (bits - 1)) - 1 + (word >> bits & 1);
  word &= ~((1u << bits) - 1);
  std::memcpy(&value, &word, sizeof value);
  return value;
}

inline float as_tf32(float value) { return without_bits(value, 13); }

inline void store(Number type, void* data, int64_t index, double value) {
  switch (type) {
    case Number::float32: static_cast<float*>(data)[index] = static_cast<float>(value); return;
    case Number::float64: static_cast<double*>(data)[index] = value; return;
    case Number::float16:
      static_cast<_Float16*>(data)[index] = static_cast<_Float16>(static_cast<float>(value));
      return;
    default: {
      const float rounded = without_bits(static_cast<float>(value), 16);
      uint32_t word;
      std::memcpy(&word, &rounded, sizeof word);
      static_cast<uint16_t*>(data)[index] = static_cast<uint16_t>(std::isnan(value) ? 0x7fc0 : word >> 16);
    }
  }
}

// A factor on the host: a double for float64, else a float.
inline double factor(Number type, const void* value) {
  return type == Number::float64 ? *static_cast<const double*>(value) : *static_cast<const float*>(value);
}

}  // namespace cuda_emulation
