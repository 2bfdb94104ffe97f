// How a matrix product becomes fast, in six steps; docs/performance.md tells the story.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace needle::cpu {

// C = A B of n x n numbers each, row-major, one row after the other.
using Product = void (*)(int64_t n, const float* a, const float* b, float* c);

struct MatmulStep {
  const char* name;
  Product multiply;
  bool is_threaded;
};

inline constexpr int kNumMatmulSteps = 6;

struct MatmulSteps {
  MatmulStep steps[kNumMatmulSteps];
  // Multiply-adds in registers only, `rounds` for each of as many sums as a tile has, on `threads` threads. Returns how
  // many floating-point operations that were.
  double (*run_peak)(int64_t rounds, int threads);
};

// Throws where the processor does not have the level.
const MatmulSteps& matmul_steps(Level level);

}  // namespace needle::cpu
