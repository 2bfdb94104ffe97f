// Contiguous conversion between float32 and the two half types.
#pragma once

#include <cstdint>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "kernels/common/dtype.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// GCC does not vectorize _Float16 conversions, so they use intrinsics. It does vectorize bfloat16's, which are shifts.
inline void convert(int64_t n, const float16* from, float* to) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
#endif
  for (; i < n; ++i) to[i] = static_cast<float>(from[i]);
}

inline void convert(int64_t n, const float* from, float16* to) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
  for (; i < n; ++i) to[i] = static_cast<float16>(from[i]);
}

inline void convert(int64_t n, const bfloat16* from, float* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

inline void convert(int64_t n, const float* from, bfloat16* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
