// The steps, each complete but for the functions above it. Every one computes C = A B of n x n float32 numbers,
// in row-major order. Compiled once for each instruction level, like the kernels.
#include "benchmarks/matmul_steps/steps.h"

#include <algorithm>
#include <vector>

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// 1. The definition. Each multiply-add waits for the one before it, and each number of B is in another cache line.
void naive(int64_t n, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t p = 0; p < n; ++p) sum += a[i * n + p] * b[p * n + j];
      c[i * n + j] = sum;
    }
}

// c[j] += factor * b[j]: the compiler vectorizes this, since `__restrict` promises that the rows do not overlap.
inline void add_row(int64_t count, float factor, const float* __restrict b, float* __restrict c) {
  for (int64_t j = 0; j < count; ++j) c[j] += factor * b[j];
}

// 2. The same multiply-adds with j innermost: rows of B and C are read in order, a vector at a time. Each multiply-add
// of vectors comes with two loads and a store, and all of B passes for each row of A.
void reordered(int64_t n, const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0f);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < n; ++p) add_row(n, a[i * n + p], b + p * n, c + i * n);
}

// 3. A block of B that stays in L2 (256 x 512 numbers, 512 KB) while all rows of A pass, and a piece of C in L1.
constexpr int64_t kDepth = 256, kColumns = 512;

void blocked(int64_t n, const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0f);
  for (int64_t p0 = 0; p0 < n; p0 += kDepth)
    for (int64_t j0 = 0; j0 < n; j0 += kColumns)
      for (int64_t i = 0; i < n; ++i)
        for (int64_t p = p0; p < std::min(p0 + kDepth, n); ++p)
          add_row(std::min(kColumns, n - j0), a[i * n + p], b + p * n + j0, c + i * n + j0);
}

// Copies rows p0 .. p1 - 1 and `columns` columns of B from j0 on, row after row, with zeros beyond column n.
void pack_b(int64_t n, const float* b, int64_t p0, int64_t p1, int64_t j0, int64_t columns, float* packed) {
  const int64_t inside = std::min(columns, n - j0);
  for (int64_t p = p0; p < p1; ++p, packed += columns) {
    std::copy_n(b + p * n + j0, inside, packed);
    std::fill(packed + inside, packed + columns, 0.0f);
  }
}

// 4. The block is copied together. In B, rows 8 KB apart (n = 2048) compete for the same few sets of a cache, and each
// lies on a page of its own; the copy fills every set evenly.
void packed(int64_t n, const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0f);
  std::vector<float> block(kDepth * kColumns);
  for (int64_t p0 = 0; p0 < n; p0 += kDepth) {
    const int64_t p1 = std::min(p0 + kDepth, n);
    for (int64_t j0 = 0; j0 < n; j0 += kColumns) {
      pack_b(n, b, p0, p1, j0, kColumns, block.data());
      for (int64_t i = 0; i < n; ++i)
        for (int64_t p = p0; p < p1; ++p)
          add_row(std::min(kColumns, n - j0), a[i * n + p], &block[(p - p0) * kColumns], c + i * n + j0);
    }
  }
}

// A register full of numbers, which may lie anywhere in memory, and the tile of C that fits in the registers.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTileRows = 12;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kTileRows = 6;
#else
constexpr int kVectorBytes = 16, kTileRows = 6;
#endif
typedef float Vector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
constexpr int kLanes = kVectorBytes / sizeof(float), kTileVectors = 2, kTileColumns = kTileVectors * kLanes;

// A's rows i0 .. i1 - 1 and columns p0 .. p1 - 1 in panels of kTileRows rows, column after column, zeros beyond row i1.
void pack_a(int64_t n, const float* a, int64_t i0, int64_t i1, int64_t p0, int64_t p1, float* panels) {
  for (int64_t i = i0; i < i1; i += kTileRows)
    for (int64_t p = p0; p < p1; ++p)
      for (int64_t r = i; r < i + kTileRows; ++r) *panels++ = r < i1 ? a[r * n + p] : 0;
}

// C's tile at (i, j) += a panel of A times a panel of B. The loop over r unrolls, so each sum[r][v] is a register.
void multiply_tile(int64_t n, int64_t depth, const float* a, const float* b, float* c, int64_t i, int64_t j) {
  Vector sum[kTileRows][kTileVectors] = {};
  for (int64_t p = 0; p < depth; ++p, a += kTileRows, b += kTileColumns) {
    const Vector* row = reinterpret_cast<const Vector*>(b);
    const Vector b0 = row[0], b1 = row[1];
#pragma GCC unroll 12
    for (int r = 0; r < kTileRows; ++r) {
      sum[r][0] += a[r] * b0;
      sum[r][1] += a[r] * b1;
    }
  }
  const int64_t rows = std::min<int64_t>(kTileRows, n - i), columns = std::min<int64_t>(kTileColumns, n - j);
  float tile[kTileRows][kTileColumns];
  std::copy_n(&sum[0][0][0], kTileRows * kTileColumns, &tile[0][0]);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t q = 0; q < columns; ++q) c[(i + r) * n + j + q] += tile[r][q];
}

constexpr int64_t kRows = 192;

// C's rows i0 .. i0 + kRows - 1 += A's columns p0 .. p1 - 1 of these rows, packed here, times all panels of B.
void multiply_block_row(int64_t n, const float* a, int64_t i0, int64_t p0, int64_t p1, float* packed_a,
                        const float* packed_b, float* c) {
  const int64_t i1 = std::min(i0 + kRows, n), depth = p1 - p0;
  pack_a(n, a, i0, i1, p0, p1, packed_a);
  for (int64_t j = 0; j < n; j += kTileColumns)
    for (int64_t i = i0; i < i1; i += kTileRows)
      multiply_tile(n, depth, packed_a + (i - i0) * depth, packed_b + j * depth, c, i, j);
}

// 5. Tiles of 12 x 32 sums in registers (AVX-512): 2 vectors and 12 numbers are loaded for 24 multiply-adds of vectors.
// B is packed in panels as wide as a tile, 32 KB each, of which one is in L1; a block of A, 192 KB, is packed, too, and
// stays in L2.
void vectorized(int64_t n, const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0f);
  const int64_t panels = (n + kTileColumns - 1) / kTileColumns;
  std::vector<float> packed_a(kRows * kDepth), packed_b(kDepth * panels * kTileColumns);
  for (int64_t p0 = 0; p0 < n; p0 += kDepth) {
    const int64_t p1 = std::min(p0 + kDepth, n), depth = p1 - p0;
    for (int64_t q = 0; q < panels; ++q)
      pack_b(n, b, p0, p1, q * kTileColumns, kTileColumns, &packed_b[q * kTileColumns * depth]);
    for (int64_t i0 = 0; i0 < n; i0 += kRows) multiply_block_row(n, a, i0, p0, p1, packed_a.data(), packed_b.data(), c);
  }
}

// 6. Threads share B's panels, which they pack together, and each takes blocks of rows of A and C. `omp for` ends with
// a barrier: no tile is multiplied before all panels of B are packed, and none is packed anew while somebody reads it.
void threaded(int64_t n, const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0f);
  const int64_t panels = (n + kTileColumns - 1) / kTileColumns;
  std::vector<float> packed_b(kDepth * panels * kTileColumns);
#pragma omp parallel
  {
    std::vector<float> packed_a(kRows * kDepth);
    for (int64_t p0 = 0; p0 < n; p0 += kDepth) {
      const int64_t p1 = std::min(p0 + kDepth, n), depth = p1 - p0;
#pragma omp for
      for (int64_t q = 0; q < panels; ++q)
        pack_b(n, b, p0, p1, q * kTileColumns, kTileColumns, &packed_b[q * kTileColumns * depth]);
#pragma omp for schedule(dynamic)
      for (int64_t i0 = 0; i0 < n; i0 += kRows)
        multiply_block_row(n, a, i0, p0, p1, packed_a.data(), packed_b.data(), c);
    }
  }
}

double run_peak(int64_t rounds, int threads) {
  constexpr int kSums = kTileRows * kTileVectors;
#pragma omp parallel num_threads(threads)
  {
    Vector factor = {}, sum[kSums] = {};
    asm volatile("" : "+m"(factor));  // the compiler must not know the numbers, and not drop their sums
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
      for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * factor + factor;
    }
    asm volatile("" : : "m"(sum));
  }
  return 2.0 * kLanes * kSums * rounds * threads;
}

}  // namespace

// Constants alone, so that nothing of this level runs before it is chosen.
extern const MatmulSteps steps_table;
const MatmulSteps steps_table = {{{"1 naive", naive, false},
                                  {"2 reordered", reordered, false},
                                  {"3 blocked", blocked, false},
                                  {"4 packed", packed, false},
                                  {"5 vectorized", vectorized, false},
                                  {"6 threaded", threaded, true}},
                                 run_peak};

}  // namespace needle::cpu::NEEDLE_LEVEL
