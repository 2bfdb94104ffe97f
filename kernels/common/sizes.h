// Saturating arithmetic on nonnegative sizes: products and sums that overflow int64_t become kTooMany. No memory pool
// has that many bytes, and as an amount of work it justifies every thread.
//
// The sizes and strides of a single array do not need this, because array.h bounds them. Sizes computed from several
// arrays, or from an array and the number of threads, do. The functions are static, so that the linker cannot
// substitute code compiled for another instruction level.
#pragma once

#include <cstdint>

namespace needle {

inline constexpr int64_t kTooMany = INT64_MAX;

static constexpr int64_t saturated_product(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kTooMany : product;
}

template <class... Factors>
static constexpr int64_t saturated_product(int64_t a, int64_t b, Factors... factors) {
  if (a == 0 || b == 0 || ((factors == 0) || ...)) return 0;  // even if the other factors overflow
  return saturated_product(saturated_product(a, b), static_cast<int64_t>(factors)...);
}

static constexpr int64_t saturated_sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kTooMany : sum;
}

// a / b, rounded up.
static constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// The smallest multiple of b that is at least a.
static constexpr int64_t round_up(int64_t a, int64_t b) { return saturated_product(ceil_div(a, b), b); }

}  // namespace needle
