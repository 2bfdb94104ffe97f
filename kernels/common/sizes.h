// Arithmetic on sizes that does not wrap: of numbers of 0 or more, products and sums that are no number of 64 bits are
// kTooMany. No memory pool has as many bytes, and as work it is worth every thread.
//
// One array's own sizes and strides need none of this: array.h bounds them. What is computed of several arrays, or of
// an array and the number of threads, does. The functions are static: a file that is compiled for one instruction level
// must not lend them to another.
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
  if (a == 0 || b == 0 || ((factors == 0) || ...)) return 0;  // whatever the others are
  return saturated_product(saturated_product(a, b), static_cast<int64_t>(factors)...);
}

static constexpr int64_t saturated_sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kTooMany : sum;
}

// a / b, rounded up.
static constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// The least multiple of b that is not less than a.
static constexpr int64_t round_up(int64_t a, int64_t b) { return saturated_product(ceil_div(a, b), b); }

}  // namespace needle
