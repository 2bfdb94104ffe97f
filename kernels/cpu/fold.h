// Vectorized reductions of consecutive values to one: sum, maximum and minimum.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/cpu/vector.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The number of consecutive float32 additions whose accumulated error stays small. Longer sums add such short sums in
// float64, which is as accurate as pairwise summation and as fast as a plain loop.
constexpr int64_t kShortSum = 64;
constexpr int64_t kRun = 4 * kShortSum * kLanes<float>;  // kShortSum in each lane of the four vectors of `fold`

// The accumulation type for sums of T.
template <class T>
using Longer = std::conditional_t<std::is_same_v<T, float>, double, T>;

// The operations. `step` folds `right`, a number or a vector of numbers, into `left`.
template <class T>
struct Add {
  using Value = T;
  static constexpr T identity() { return 0; }
  template <class V>
  static void step(V& left, const V& right) {
    left += right;
  }
};

// Takes the later value if it is larger or NaN, and keeps a NaN.
template <class T>
struct Max {
  using Value = T;
  static constexpr T identity() {
    return std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  }
  template <class V>
  static void step(V& left, const V& right) {
    if constexpr (std::is_floating_point_v<T>)
      left = (right > left) | (right != right) ? right : left;
    else
      left = left >= right ? left : right;
  }
  static bool is_better(T later, T earlier) { return later > earlier; }
};

template <class T>
struct Min {
  using Value = T;
  static constexpr T identity() {
    return std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  }
  template <class V>
  static void step(V& left, const V& right) {
    if constexpr (std::is_floating_point_v<T>)
      left = (right < left) | (right != right) ? right : left;
    else
      left = left <= right ? left : right;
  }
  static bool is_better(T later, T earlier) { return later < earlier; }
};

// Folds a register of `bytes` bytes by repeated halving.
template <class Operation, int bytes>
inline typename Operation::Value fold_lanes(const typename VectorOf<typename Operation::Value, bytes>::type& all) {
  using T = typename Operation::Value;
  if constexpr (bytes > 16) {
    typename VectorOf<T, bytes / 2>::type half[2];
    std::memcpy(half, &all, sizeof half);
    Operation::step(half[0], half[1]);
    return fold_lanes<Operation, bytes / 2>(half[0]);
  } else {
    T lane[bytes / sizeof(T)];
    std::memcpy(lane, &all, sizeof lane);
    for (int64_t n = bytes / sizeof(T) / 2; n > 0; n /= 2)
      for (int64_t i = 0; i < n; ++i) Operation::step(lane[i], lane[i + n]);
    return lane[0];
  }
}

// Folds value(0), ..., value(n - 1). value(i) returns one number; vector(i, to) sets `to` to the numbers from i on.
template <class Operation, class Value, class MakeVector>
inline typename Operation::Value fold(int64_t n, const Value& value, const MakeVector& vector) {
  using T = typename Operation::Value;
  constexpr int64_t lanes = kLanes<T>;
  T result = Operation::identity();
  int64_t i = 0;
  if (n >= 4 * lanes) {  // four independent chains hide the latency of an addition
    Vector<T> chain[4], next;
    for (int k = 0; k < 4; ++k) vector(k * lanes, chain[k]);
    for (i = 4 * lanes; i + 4 * lanes <= n; i += 4 * lanes)
      for (int k = 0; k < 4; ++k) {
        vector(i + k * lanes, next);
        Operation::step(chain[k], next);
      }
    Operation::step(chain[0], chain[1]);
    Operation::step(chain[2], chain[3]);
    Operation::step(chain[0], chain[2]);
    result = fold_lanes<Operation, kVectorBytes>(chain[0]);
  }
  for (; i < n; ++i) Operation::step(result, T(value(i)));
  return result;
}

// Folds a[0], ..., a[n - 1]. For float32 sums n must be at most kRun.
template <class Operation>
inline typename Operation::Value fold(int64_t n, const typename Operation::Value* a) {
  using T = typename Operation::Value;
  return fold<Operation>(
      n, [a](int64_t i) { return a[i]; }, [a](int64_t i, Vector<T>& to) { std::memcpy(&to, a + i, sizeof to); });
}

template <class T>
inline Longer<T> long_sum(int64_t n, const T* a) {
  Longer<T> sum = 0;
  for (int64_t i = 0; i < n; i += kRun) sum += fold<Add<T>>(n - i < kRun ? n - i : kRun, a + i);
  return sum;
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
