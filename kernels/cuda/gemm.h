// The matrix product that matmul.cu and conv.cu share: C (m, n) = A (m, k) B (k, n), for matrices that are functions of
// row and column.
//
// A block of threads computes a tile of C, kTile x kTile, as a sum of outer products: for each p, column p of A's rows
// times row p of B's columns. It advances through k in steps of kDepth. While all threads multiply the numbers in
// shared memory, each thread loads four numbers per operand for the next step into registers. It then writes them to
// the other half of shared memory (double buffering), so that one barrier per step is enough.
//
//             B: kDepth x kTile          Each of the 16 x 16 threads keeps kEach x kEach sums in registers. For 8 x 8
//             +----------------+         a step of p reads 16 numbers from shared memory for 64 multiply-adds, so
//    A:       |                |         the multiply-adds are the bottleneck. A warp is 4 x 8 threads, whose reads
//    kDepth   +----------------+         of A and of B cover 64 and 128 contiguous bytes: no bank conflicts.
//    x kTile  C: kTile x kTile
//     +--+    +----------------+         Blocks read 2 k m n / kTile numbers in total, most of them from L2, because
//     |  |    | kEach x kEach  |         blocks that run at the same time are neighbours in C.
//     |  |    | of a thread    |
//     +--+    +----------------+
//
// If C has too few tiles for the device, k is cut into slices with one block each, and a second kernel adds their sums
// in order, so that the result is deterministic.
#pragma once

#include "kernels/common/sizes.h"
#include "kernels/cuda/elementwise.h"

namespace needle::cuda {

// An axis of a matrix whose number i is at i * stride. (i is converted as unsigned: sign extension takes a register.)
struct PlainAxis {
  struct Place {
    int64_t offset;
    __device__ Place operator+(Place other) const { return {offset + other.offset}; }
  };

  int count;
  int64_t stride;

  __device__ Place place(int i) const { return {static_cast<uint32_t>(i) * stride}; }
};

// Bounds for plain axes: every position is inside.
struct Unbounded {
  __device__ bool contains(PlainAxis::Place) const { return true; }
};

// A matrix with one axis shared with C ("line": a row of A, a column of B) and one that is summed over ("depth"). The
// position of a number is the sum of its places on both axes. Numbers outside the bounds are 0.
template <class E, class Axis, class Bounds>
struct Operand {
  using Place = typename Axis::Place;

  const E* data;
  Axis line, depth;
  Bounds bounds;
  bool along_line;  // whether neighbouring threads, and the four numbers that a thread fetches, follow the line axis
  bool packs;       // whether any four numbers from a multiple of 4 on are contiguous and aligned

  // Fetches the four numbers from (i, p) on; they are 0 from line.count and from `end` on. at_line is line.place(i).
  template <class Sum>
  __device__ void fetch(int i, const Place& at_line, int p, int end, Sum (&values)[4]) const {
    const bool whole = along_line ? i + 4 <= line.count && p < end : i < line.count && p + 4 <= end;
    if (packs && whole) {
      const Place at = at_line + depth.place(p);
      if (!bounds.contains(at)) {
        for (int q = 0; q < 4; ++q) values[q] = Sum{0};
        return;
      }
      const auto pack = *reinterpret_cast<const Pack<E, 4>*>(data + at.offset);
#pragma unroll
      for (int q = 0; q < 4; ++q) values[q] = static_cast<Sum>(pack.values[q]);
      return;
    }
    asm volatile("" : "+r"(i));  // keeps the compiler from hoisting terms in i out of the loop over p, into registers
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int next_i = along_line ? i + q : i, next_p = along_line ? p : p + q;
      values[q] = Sum{0};
      if (next_i >= line.count || next_p >= end) continue;
      const Place at = (along_line ? line.place(next_i) : at_line) + depth.place(next_p);
      if (bounds.contains(at)) values[q] = static_cast<Sum>(data[at.offset]);
    }
  }
};

// C, and the epilogue applied to a sum before it is stored: the bias of its column, if any, and relu.
template <class E, class Axis>
struct Result {
  E* data;
  Axis row, column;
  bool packs;  // whether any four columns from a multiple of 4 on are contiguous and aligned
  const E* bias = nullptr;
  int64_t bias_stride = 0;
  bool relu = false;

  template <class Sum>
  __device__ Sum finish(Sum sum, int j) const {
    if (bias) sum += static_cast<Sum>(bias[j * bias_stride]);
    return relu && sum < Sum{0} ? Sum{0} : sum;
  }
};

// The extents of a product. k is cut into `slices` parts, each `slice` deep, a multiple of every kDepth.
struct Extents {
  int m, n, k, slices, slice;
};

template <int tile, int depth>
struct Tile {
  static constexpr int kTile = tile, kDepth = depth, kEach = tile / 16;
  static constexpr int kPitch = tile + 4;  // of a row in shared memory; spreads a column's writes over all banks
  static_assert(tile * depth == 4 * kThreads);
};
using LargeTile = Tile<128, 8>;
using SmallTile = Tile<64, 16>;
// Resident blocks per multiprocessor: threads have 128 registers, or 80 if that suffices for 16 float32 sums.
template <class Tile, class Sum>
inline constexpr int kResident = Tile::kEach * sizeof(Sum) == 16 ? 3 : 2;

// The first of the four numbers that a thread fetches in a step, as (line, p) within the tile. Along the line axis,
// tile/4 neighbouring threads share a p; along the depth axis, two share a line, 32 bytes for float32.
template <class Tile>
__device__ int2 numbers_of_thread(bool along_line) {
  const int thread = threadIdx.x;
  if (along_line) return {thread % (Tile::kTile / 4) * 4, thread / (Tile::kTile / 4)};
  const int pair = thread % 2, sixteenth = thread / 2 % 16, warp = thread / kWarp, pairs = Tile::kDepth / 8;
  return {warp / pairs * 16 + sixteenth, (warp % pairs * 2 + pair) * 4};
}

template <class Tile, class Sum>
__device__ void store(bool along_line, int2 at, const Sum (&values)[4], Sum (&tile)[Tile::kDepth][Tile::kPitch]) {
  if (along_line) {
    Pack<Sum, 4> pack;
    for (int q = 0; q < 4; ++q) pack.values[q] = values[q];
    *reinterpret_cast<Pack<Sum, 4>*>(&tile[at.y][at.x]) = pack;
  } else {
#pragma unroll
    for (int q = 0; q < 4; ++q) tile[at.y + q][at.x] = values[q];
  }
}

// Compute-bound for square matrices: expected to reach 60 to 75% of the float32 peak with the large tile.
template <class Tile, class Sum, class A, class B, class C>
__global__ void __launch_bounds__(kThreads, kResident<Tile, Sum>)
    gemm_kernel(Extents extents, Strides<3> batch, A a, B b, C c) {
  constexpr int kTile = Tile::kTile, kDepth = Tile::kDepth, kEach = Tile::kEach, kGroups = kEach / 4;
  alignas(32) __shared__ Sum a_tile[2][kDepth][Tile::kPitch];
  alignas(32) __shared__ Sum b_tile[2][kDepth][Tile::kPitch];

  // Consecutive blocks cover squares of C, eight tiles high, so that their operands stay in L2.
  const unsigned rows = (extents.m + kTile - 1) / kTile, columns = (extents.n + kTile - 1) / kTile;
  const unsigned tile = blockIdx.x % (rows * columns), part = blockIdx.x / (rows * columns);
  const unsigned group = tile / (8 * columns), height = min(rows - group * 8, 8u), within = tile - group * 8 * columns;
  const int first_row = (group * 8 + within % height) * kTile, first_column = within / height * kTile;
  const int slice = part % extents.slices, first = slice * extents.slice, end = min(first + extents.slice, extents.k);
  int64_t offset[3];
  batch.locate(part / extents.slices, offset);
  a.data = reinterpret_cast<decltype(a.data)>(reinterpret_cast<const std::byte*>(a.data) + offset[1]);
  b.data = reinterpret_cast<decltype(b.data)>(reinterpret_cast<const std::byte*>(b.data) + offset[2]);

  const int2 a_at = numbers_of_thread<Tile>(a.along_line), b_at = numbers_of_thread<Tile>(b.along_line);
  const int a_line = first_row + a_at.x, b_line = first_column + b_at.x;
  const auto a_place = a.line.place(a_line);
  const auto b_place = b.line.place(b_line);
  Sum a_next[4], b_next[4];
  const auto fetch = [&](int p) {
    a.fetch(a_line, a_place, p + a_at.y, end, a_next);
    b.fetch(b_line, b_place, p + b_at.y, end, b_next);
  };
  const auto keep = [&](int half) {
    store<Tile>(a.along_line, a_at, a_next, a_tile[half]);
    store<Tile>(b.along_line, b_at, b_next, b_tile[half]);
  };

  // A thread computes four rows from `row` on in each half of the tile, and likewise for columns.
  // Bits 4 and 1 of a lane's number select its row within the warp, bits 3, 2 and 0 its column. Lanes that differ only
  // in bit 0 read the same numbers of A, and those that differ only in bit 1 the same of B. Such a pair is served at
  // once, in half the time.
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int row = (warp / 2 * 4 + lane / 16 * 2 + lane / 2 % 2) * 4;
  const int column = (warp % 2 * 8 + lane / 4 % 4 * 2 + lane % 2) * 4;
  Sum sums[kEach][kEach] = {};
  fetch(first);
  keep(0);
  for (int p = first, half = 0; p < end; p += kDepth, half ^= 1) {
    const bool more = p + kDepth < end;
    if (more) fetch(p + kDepth);
    __syncthreads();  // after the reads, or the compiler could move them behind the products that hide their latency
#pragma unroll
    for (int q = 0; q < kDepth; ++q) {
      Pack<Sum, 4> left[kGroups], right[kGroups];
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        left[g] = *reinterpret_cast<const Pack<Sum, 4>*>(&a_tile[half][q][g * 64 + row]);
        right[g] = *reinterpret_cast<const Pack<Sum, 4>*>(&b_tile[half][q][g * 64 + column]);
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += left[i / 4].values[i % 4] * right[j / 4].values[j % 4];
    }
    if (more) keep(half ^ 1);
  }

  if (extents.slices > 1)
    c.data += int64_t{part} * extents.m * extents.n;
  else
    c.data = reinterpret_cast<decltype(c.data)>(reinterpret_cast<std::byte*>(c.data) + offset[0]);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int to_row = first_row + i / 4 * 64 + row + i % 4;
    if (to_row >= extents.m) continue;
    const auto at_row = c.row.place(to_row);
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int to_column = first_column + g * 64 + column;
      using E = std::remove_pointer_t<decltype(c.data)>;
      Pack<E, 4> pack;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (to_column + j < extents.n) pack.values[j] = static_cast<E>(c.finish(sums[i][g * 4 + j], to_column + j));
      if (c.packs && to_column + 4 <= extents.n) {
        *reinterpret_cast<Pack<E, 4>*>(c.data + (at_row + c.column.place(to_column)).offset) = pack;
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (to_column + j < extents.n) c.data[(at_row + c.column.place(to_column + j)).offset] = pack.values[j];
      }
    }
  }
}

// c = the sum of the slices, partial (batch, slices, m, n), in their order. Bound by reading the slices.
template <class Sum, class C>
__global__ void __launch_bounds__(kThreads)
    add_slices_kernel(Extents extents, Strides<3> batch, const Sum* partial, int64_t count, C c) {
  const int64_t size = int64_t{extents.m} * extents.n;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t matrix = i / size, within = i - matrix * size;
    const int row = static_cast<int>(within / extents.n), column = static_cast<int>(within - int64_t{row} * extents.n);
    const Sum* from = partial + matrix * extents.slices * size + within;
    Sum sum = from[0];
    for (int s = 1; s < extents.slices; ++s) sum += from[s * size];
    int64_t offset[3];
    batch.locate(static_cast<uint32_t>(matrix), offset);
    auto* to = reinterpret_cast<decltype(c.data)>(reinterpret_cast<std::byte*>(c.data) + offset[0]);
    using E = std::remove_pointer_t<decltype(c.data)>;
    to[(c.row.place(row) + c.column.place(column)).offset] = static_cast<E>(c.finish(sum, column));
  }
}

// c = a b for each of the `count` matrices of a batch, whose strides are given for c, a, b. m, n, count > 0.
template <class Sum, class A, class B, class C>
void gemm(int64_t count, const Strides<3>& batch, const A& a, const B& b, const C& c) {
  constexpr int kLeast = 256, kMost = 1 << 15;  // depth of a slice; kMost bounds the error of a long sum
  Extents extents{c.row.count, c.column.count, a.depth.count, 1, 0};
  const int64_t fill = device().multiprocessors;
  const auto blocks = [&](int64_t tile) {
    return count * ((extents.m + tile - 1) / tile) * ((extents.n + tile - 1) / tile);
  };
  const bool large = sizeof(Sum) == 4 && blocks(LargeTile::kTile) >= fill;
  const int64_t tiles = blocks(large ? LargeTile::kTile : SmallTile::kTile);
  const int64_t wanted = std::max<int64_t>(std::min<int64_t>(2 * fill / tiles, extents.k / kLeast), extents.k / kMost);
  extents.slice = static_cast<int>(extents.k / std::max<int64_t>(wanted, 1) / 16 * 16 + 16);
  extents.slices = std::max(1, (extents.k + extents.slice - 1) / extents.slice);
  const auto grid = static_cast<unsigned>(tiles * extents.slices);

  const auto run = [&](const auto& to) {
    using To = std::decay_t<decltype(to)>;
    if constexpr (sizeof(Sum) == 4)
      if (large) return launch(gemm_kernel<LargeTile, Sum, A, B, To>, grid, kThreads, extents, batch, a, b, to);
    launch(gemm_kernel<SmallTile, Sum, A, B, To>, grid, kThreads, extents, batch, a, b, to);
  };
  if (extents.slices == 1) return run(c);
  const int64_t size = count * extents.m * extents.n;
  const Buffer partial(saturated_product(size, extents.slices, sizeof(Sum)), *device().pool);
  Sum* const partials = reinterpret_cast<Sum*>(partial.data());
  run(Result<Sum, PlainAxis>{partials, {extents.m, extents.n}, {extents.n, 1}, extents.n % 4 == 0});
  launch(add_slices_kernel<Sum, C>, blocks_for(size, kThreads), kThreads, extents, batch, partials, size, c);
}

}  // namespace needle::cuda
