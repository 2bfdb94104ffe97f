// C = A B: the loop nest that matmul and the convolutions share.
//
// A core multiplies faster than memory delivers, so a product runs at full speed only if each number is used many times
// per fetch. The product is therefore cut into blocks sized to fit the caches, after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication", 2008, and Van Zee and van de Geijn, "BLIS: A Framework for Rapidly
// Instantiating BLAS Functionality", 2015:
//
//                                   N_C
//                           . . .+-------+. . .      B (k x n): a piece of N_C columns, packed, in L3; its panel of
//                           .    |   ||  |    .      K_C x N_R, between the bars, is in L1 while it is in use
//                           .    |   ||  |    .
//                           . . .+-------+. . .
//               K_C
//        . . .+-----+. .    . . . . . . . . . .
//        .    |     |  .    .    .       .    .      A (m x k): a block of M_C x K_C, packed, in L2
//        . . .+-----+. .    . . .+-------+. . .
//   M_C  .    |_____|  .    .    |___[]__|    .      C (m x n): a block of M_C x N_C, the work of one thread; its tile
//        .    |_____|M_R    .    |       |    .      of M_R x N_R, the [], is in registers
//        . . .+-----+. .    . . .+-------+. . .
//
//   for each N_C columns of B and C:             pack them in panels of N_R columns            all threads together
//     for each M_C rows of A and C:              this block of C is a task for one thread
//       for each K_C columns of A:               pack the block in panels of M_R rows
//         for each panel of B:
//           for each panel of A:                 the micro-kernel adds their product to one tile
//
// A step of the micro-kernel takes one column of A's panel and one row of B's, M_R + N_R numbers in total, and does
// M_R * N_R multiply-adds with them, all in registers:
//
//             b, 2 vectors
//           +------+------+                M_R x N_R   registers for     K_C x N_R   M_C x K_C
//      a[0] | sum  | sum  |                (float32)   sum + b + a       (L1)        (L2)
//      a[1] | sum  | sum  |    baseline     6 x  8     12 + 2 + 1 of 16    8 KB      204 KB
//       ...                    avx2         6 x 16     12 + 2 + 1 of 16   16 KB      204 KB
//  a[M_R-1] | sum  | sum  |    avx512      12 x 32     24 + 2 + 1 of 32   32 KB      204 KB
//           +------+------+
//
// docs/performance.md has the measurements ("The matrix product, in six steps").
//
// Packing copies a block so that the micro-kernel reads memory in order, without TLB misses and without rows that
// compete for the same cache lines. It is also the only code that depends on the kind of operand: a transposed,
// broadcast or float16 matrix, or the windows of an image in a convolution, each provide
//
//   copy_block(block, block_stride, row, rows, column, columns):  block[r * block_stride + c] = (row + r, column + c)
//
// and a result provides the offsets of its rows (StridedResult).
//
// T is the accumulation type: float32 for float16, bfloat16 and bool, unsigned for integers. An element of C is a sum
// over blocks of K_C of sums in the order of k, whichever tile, block or thread computes it. So a result does not
// depend on the number of threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"
#include "kernels/common/parallel.h"
#include "kernels/common/sizes.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/vector.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int kTileRows = kVectorBytes == 64 ? 12 : 6;  // with AVX-512 there are 32 registers, else 16
constexpr int kTileVectors = 2;
template <class T>
constexpr int kTileColumns = kTileVectors * kLanes<T>;  // N_R; kTileRows is M_R

constexpr int64_t kBlockDepth = 256;     // K_C
constexpr int64_t kBlockRows = 192;      // M_C, a multiple of M_R
constexpr int64_t kBlockColumns = 1024;  // N_C at most, a multiple of every N_R
static_assert(kBlockRows % kTileRows == 0);

// A panel of A is row-major. Its rows are one cache line further apart than K_C, so that they do not compete for cache
// lines.
template <class T>
constexpr int64_t kPanelStride = kBlockDepth + 64 / sizeof(T);

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Integers are multiplied as unsigned numbers with the same bits, because their overflow is defined: it wraps. Bools
// are summed as float32: such a sum may round but never returns to zero, and true means "not zero".
template <class T>
struct GemmTypes {
  using Element = T;
  using Sum = Compute<T>;
};
template <>
struct GemmTypes<bool> {
  using Element = bool;
  using Sum = float;
};
template <>
struct GemmTypes<int8_t> {
  using Element = int8_t;
  using Sum = uint32_t;
};
template <>
struct GemmTypes<uint8_t> {
  using Element = uint8_t;
  using Sum = uint32_t;
};
template <>
struct GemmTypes<int32_t> {
  using Element = uint32_t;
  using Sum = uint32_t;
};
template <>
struct GemmTypes<int64_t> {
  using Element = uint64_t;
  using Sum = uint64_t;
};

// ---------------------------------------------------------------------------------------------------------------------
// Operands

// Copies `count` contiguous numbers. It does not use memcpy because count is small: gcc compiles memcpy to `rep movs`,
// whose startup takes longer than copying a row of a block. The last vector overlaps the one before it.
template <class E, class T>
void copy_row(const E* source, T* destination, int64_t count) {
  if constexpr (std::is_same_v<E, T>) {
    const auto copy_vector = [&](int64_t i) {
      *reinterpret_cast<UnalignedVector<T>*>(destination + i) =
          *reinterpret_cast<const UnalignedVector<T>*>(source + i);
    };
    if (count >= kLanes<T>) {
      for (int64_t i = 0; i < count - kLanes<T>; i += kLanes<T>) copy_vector(i);
      return copy_vector(count - kLanes<T>);
    }
  } else if constexpr (is_floating<E>) {
    return convert(count, source, destination);
  }
  for (int64_t i = 0; i < count; ++i) destination[i] = static_cast<T>(source[i]);
}

// to[r][c] = from[c][r] for 4 x 4 numbers.
template <class T>
void transpose_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  typedef T Quad __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));
  const Quad s0 = *reinterpret_cast<const Quad*>(from);
  const Quad s1 = *reinterpret_cast<const Quad*>(from + from_stride);
  const Quad s2 = *reinterpret_cast<const Quad*>(from + 2 * from_stride);
  const Quad s3 = *reinterpret_cast<const Quad*>(from + 3 * from_stride);
  const Quad low01 = __builtin_shufflevector(s0, s1, 0, 4, 1, 5), low23 = __builtin_shufflevector(s2, s3, 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(s0, s1, 2, 6, 3, 7), high23 = __builtin_shufflevector(s2, s3, 2, 6, 3, 7);
  *reinterpret_cast<Quad*>(to) = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  *reinterpret_cast<Quad*>(to + to_stride) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  *reinterpret_cast<Quad*>(to + 2 * to_stride) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  *reinterpret_cast<Quad*>(to + 3 * to_stride) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

// destination[r][c] = source[c][r] for rows x columns numbers of the destination, in 4 x 4 squares that are transposed
// in registers. The last square in each direction overlaps the one before it if 4 does not divide the extent.
template <class E, class T>
void copy_transposed(const E* source, int64_t source_stride, T* destination, int64_t destination_stride, int64_t rows,
                     int64_t columns) {
  if constexpr (std::is_same_v<E, T>) {
    if (rows >= 4 && columns >= 4) {
      constexpr int64_t kLine = 64 / sizeof(T);  // whole cache lines of the destination are written at once
      for (int64_t line = 0; line < columns; line += kLine)
        for (int64_t r = 0; r < rows; r += 4)
          for (int64_t c = line; c < smaller(line + kLine, columns); c += 4) {
            const int64_t row = smaller(r, rows - 4), column = smaller(c, columns - 4);
            transpose_square(source + column * source_stride + row, source_stride,
                             destination + row * destination_stride + column, destination_stride);
          }
      return;
    }
  }
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r)
      destination[r * destination_stride + c] = static_cast<T>(source[c * source_stride + r]);
}

// A matrix with any strides, which may make it transposed, flipped or broadcast.
template <class E>
struct StridedMatrix {
  const E* data;
  int64_t row_stride, column_stride;

  template <class T>
  void copy_block(T* block, int64_t block_stride, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    const E* source = data + row * row_stride + column * column_stride;
    if (row_stride == 1 && column_stride != 1) {
      copy_transposed(source, column_stride, block, block_stride, rows, columns);
    } else if (column_stride == 1) {
      for (int64_t r = 0; r < rows; ++r, source += row_stride, block += block_stride) copy_row(source, block, columns);
    } else {
      for (int64_t r = 0; r < rows; ++r, source += row_stride, block += block_stride)
        for (int64_t c = 0; c < columns; ++c) block[c] = static_cast<T>(source[c * column_stride]);
    }
  }
};

// The transpose of another operand.
template <class Operand>
struct Transposed {
  Operand operand;

  template <class T>
  void copy_block(T* block, int64_t block_stride, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    constexpr int64_t kWidth = 32;
    alignas(kAlignment) T buffer[kBlockDepth * kWidth];
    for (int64_t r = 0; r < rows; r += kWidth) {
      const int64_t width = smaller(kWidth, rows - r);
      for (int64_t c = 0; c < columns; c += kBlockDepth) {
        const int64_t depth = smaller(kBlockDepth, columns - c);
        operand.copy_block(buffer, kWidth, column + c, depth, row + r, width);
        copy_transposed(buffer, kWidth, block + r * block_stride + c, block_stride, width, depth);
      }
    }
  }
};

// A result with equally spaced rows.
template <class E>
struct StridedResult {
  using Element = E;
  E* data;
  int64_t row_stride, column_stride;

  // Sets offsets[r] to the offset of row (row + r) from data.
  void row_offsets(int64_t row, int64_t rows, int64_t* offsets) const {
    for (int64_t r = 0; r < rows; ++r) offsets[r] = (row + r) * row_stride;
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// The micro-kernel

// The initial values of the sums, in rows like those of C: C itself, to add to it; a bias, one row for all; or zero, if
// data is null.
template <class T>
struct Start {
  const T* data = nullptr;
  const int64_t* row_offsets = nullptr;  // for the same rows as C's
  int64_t column_stride = 1;
};

// Sets the tile of C whose row i begins at c + row_offsets[i] to `start` plus A's panel (M_R x depth) times B's panel
// (depth x N_R). Only the first `vectors` vectors of the N_R columns are computed. Every sum[i][j] is a register: the
// loops over i and j unroll completely. Each step also prefetches a piece of the next panel of B, from `ahead` on, so
// that it is in L2 by the time it is needed.
template <int vectors, class T>
void multiply_panels(int64_t depth, const T* __restrict a, const T* __restrict b, const char* ahead, int64_t ahead_step,
                     T* c, const int64_t* row_offsets, const T* start, const int64_t* start_offsets) {
  for (int i = 0; i < kTileRows; ++i)
    for (int j = 0; j < vectors; ++j) __builtin_prefetch(c + row_offsets[i] + j * kLanes<T>, 1);
  UnalignedVector<T> sum[kTileRows][vectors] = {};
  for (int64_t p = 0; p < depth; ++p, ++a, b += kTileColumns<T>, ahead += ahead_step) {
    __builtin_prefetch(ahead, 0, 2);
    UnalignedVector<T> b_row[vectors];
#pragma GCC unroll 2
    for (int j = 0; j < vectors; ++j) b_row[j] = *reinterpret_cast<const UnalignedVector<T>*>(b + j * kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j) sum[i][j] += a[i * kPanelStride<T>] * b_row[j];
  }
  if (start) {
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j)
        sum[i][j] += reinterpret_cast<const UnalignedVector<T>*>(start + start_offsets[i])[j];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < vectors; ++j) reinterpret_cast<UnalignedVector<T>*>(c + row_offsets[i])[j] = sum[i][j];
}

// ---------------------------------------------------------------------------------------------------------------------
// The blocks

// The team of threads that works on one product, as seen by one of them.
struct Team {
  int rank, size;

  void barrier() const {
    if (size > 1) {
#pragma omp barrier
    }
  }
  Range share(int64_t count) const { return part_of(count, rank, size); }
};

// How much of B is packed at a time, and the memory that packing takes. If C holds the sums themselves, a piece of B
// need not span all of K. If A has only one block of rows, each packed panel of B is used just once, so the piece is
// made small enough to be still in L2 then.
template <class T>
struct Blocking {
  int64_t columns, depth;               // of a piece of B: N_C, and all of K or a multiple of K_C
  int64_t packed_b, packed_a, block_c;  // sizes in numbers of T; the last two are per thread

  Blocking(int64_t m, int64_t n, int64_t k, bool sums_in_c) {
    const bool one_block = m <= kBlockRows;
    const int64_t budget = (one_block ? 1 << 19 : 1 << 23) / sizeof(T);
    columns = one_block ? kBlockColumns / 2 : kBlockColumns;
    if (!sums_in_c) columns = smaller(columns, larger(budget / larger(k, 1), kBlockColumns / 4));
    columns = round_up(smaller(n, columns), kTileColumns<T>);
    depth = sums_in_c ? larger(budget / columns / kBlockDepth, 1) * kBlockDepth : larger(k, 1);
    packed_b = round_up(saturated_product(smaller(depth, k), columns), kAlignment);
    packed_a = smaller(kBlockRows, round_up(m, kTileRows)) * kPanelStride<T>;
    block_c = sums_in_c ? 0 : smaller(kBlockRows, m) * columns;
  }
  int64_t per_thread() const { return round_up(packed_a + block_c, kAlignment); }
  int64_t workspace(int threads) const { return saturated_sum(packed_b, threads * per_thread()); }
};

// Rows k0 .. k1 - 1 and columns j0 .. j1 - 1 of B, packed: for each K_C rows, one panel of N_R columns after another.
// Panels are row-major, with zeros beyond j1.
template <class T>
struct PackedB {
  T* memory;
  int64_t k0, k1, j0, j1;

  int64_t panels() const { return ceil_div(j1 - j0, kTileColumns<T>); }
  int64_t depth(int64_t p) const { return smaller(kBlockDepth, k1 - p); }
  // Panel number q of the K_C rows from p on.
  T* panel(int64_t p, int64_t q) const {
    return memory + (p - k0) * panels() * kTileColumns<T> + q * depth(p) * kTileColumns<T>;
  }

  template <class B>
  void pack(const B& b, const Team& team) const {
    const Range share = team.share(ceil_div(k1 - k0, kBlockDepth) * panels());
    for (int64_t i = share.begin; i < share.end; ++i) {
      const int64_t p = k0 + i / panels() * kBlockDepth, q = i % panels();
      const int64_t column = j0 + q * kTileColumns<T>, columns = smaller(kTileColumns<T>, j1 - column);
      if (columns < kTileColumns<T>) std::memset(panel(p, q), 0, depth(p) * kTileColumns<T> * sizeof(T));
      b.copy_block(panel(p, q), kTileColumns<T>, p, depth(p), column, columns);
    }
  }
};

// Packs a block of A into panels of M_R rows, with zeros beyond its last row.
template <class T, class A>
void pack_a(const A& a, int64_t row, int64_t rows, int64_t p, int64_t depth, T* panels) {
  if (depth > 0) a.copy_block(panels, kPanelStride<T>, row, rows, p, depth);
  for (int64_t r = rows; r < round_up(rows, kTileRows); ++r)
    std::memset(panels + r * kPanelStride<T>, 0, depth * sizeof(T));
}

// Sets the block of C whose row i begins at c + row_offsets[i] to `start` plus a block of packed A (rows x depth) times
// panels of packed B (depth x columns). Tiles that cross the edge of C, and all tiles if column_stride is not 1, are
// computed in `tile` and copied.
template <class T>
void multiply_block(int64_t rows, int64_t columns, int64_t depth, const T* panels_a, const T* panels_b, T* c,
                    const int64_t* row_offsets, int64_t column_stride, const Start<T>& start) {
  alignas(kAlignment) T tile[kTileRows * kTileColumns<T>];
  int64_t tile_offsets[kTileRows];
  for (int i = 0; i < kTileRows; ++i) tile_offsets[i] = i * kTileColumns<T>;
  const int64_t ahead_step = ceil_div(kTileColumns<T> * sizeof(T), ceil_div(rows, kTileRows));

  for (int64_t j = 0; j < columns; j += kTileColumns<T>, panels_b += kTileColumns<T> * depth) {
    const int64_t width = smaller(kTileColumns<T>, columns - j);
    const auto multiply = width > kLanes<T> ? &multiply_panels<kTileVectors, T> : &multiply_panels<1, T>;
    const char* ahead = reinterpret_cast<const char*>(panels_b + kTileColumns<T> * depth);
    for (int64_t i = 0; i < rows; i += kTileRows, ahead += ahead_step * depth) {
      const T* panel_a = panels_a + i * kPanelStride<T>;
      const int64_t height = smaller(kTileRows, rows - i);
      if (height == kTileRows && width % kLanes<T> == 0 && column_stride == 1) {
        multiply(depth, panel_a, panels_b, ahead, ahead_step, c + j, row_offsets + i,
                 start.data ? start.data + j : nullptr, start.row_offsets + i);
      } else {
        multiply(depth, panel_a, panels_b, ahead, ahead_step, tile, tile_offsets, nullptr, nullptr);
        for (int64_t r = 0; r < height; ++r) {
          T* row = c + row_offsets[i + r] + j * column_stride;
          const T* begin = start.data ? start.data + start.row_offsets[i + r] + j * start.column_stride : nullptr;
          for (int64_t q = 0; q < width; ++q)
            row[q * column_stride] = tile[r * kTileColumns<T> + q] + (begin ? begin[q * start.column_stride] : 0);
        }
      }
    }
  }
}

// Computes the block of C with rows i0 .. i0 + rows - 1 and the columns of panels q0 .. q1 - 1 of a piece of B. For the
// first piece it sets the block to the bias, if any, plus the product; later pieces add their product. With `relu` it
// then applies max(., 0). `scratch` holds a block of A and, if C does not hold the sums itself, the block of C, which
// is rounded once it is complete.
template <class T, class A, class C>
void compute_block(const A& a, const PackedB<T>& b, const C& c, const T* bias, bool relu, int64_t i0, int64_t rows,
                   int64_t q0, int64_t q1, T* scratch, int64_t packed_a_size) {
  using Element = typename C::Element;
  const int64_t j = b.j0 + q0 * kTileColumns<T>, columns = smaller(b.j0 + q1 * kTileColumns<T>, b.j1) - j;
  T* const packed_a = scratch;
  T* const block_c = scratch + packed_a_size;
  Element* const corner = c.data + j * c.column_stride;
  int64_t offsets[kBlockRows], block_offsets[kBlockRows];
  static constexpr int64_t kSameRow[kBlockRows] = {};
  const Start<T> first = bias ? Start<T>{bias + j, kSameRow, 1} : Start<T>{};
  c.row_offsets(i0, rows, offsets);
  for (int64_t i = 0; i < rows; ++i) block_offsets[i] = i * columns;

  for (int64_t p = b.k0; p == 0 || p < b.k1; p += kBlockDepth) {  // once for k = 0, which sets C to zero
    pack_a(a, i0, rows, p, b.depth(p), packed_a);
    if constexpr (std::is_same_v<Element, T>)
      multiply_block(rows, columns, b.depth(p), packed_a, b.panel(p, q0), corner, offsets, c.column_stride,
                     p > 0 ? Start<T>{corner, offsets, c.column_stride} : first);
    else
      multiply_block(rows, columns, b.depth(p), packed_a, b.panel(p, q0), block_c, block_offsets, 1,
                     p > 0 ? Start<T>{block_c, block_offsets, 1} : first);
  }
  if constexpr (!std::is_same_v<Element, T>)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < columns; ++q)
        corner[offsets[i] + q * c.column_stride] = static_cast<Element>(block_c[block_offsets[i] + q]);
  if (relu)  // while the block is in L2
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < columns; ++q) {
        Element& element = corner[offsets[i] + q * c.column_stride];
        if (T{0} > static_cast<T>(element)) element = Element{};  // propagates NaN
      }
}

// Computes the columns `of_n` of C (m x n) = A (m x k) B (k x n) + bias, optionally followed by relu. Every thread of
// the team calls this.
template <class T, class A, class B, class C>
void multiply_together(const Team& team, const Blocking<T>& blocking, T* workspace, int64_t m, const Range& of_n,
                       int64_t k, const A& a, const B& b, const C& c, const T* bias, bool relu) {
  T* const scratch = workspace + blocking.packed_b + team.rank * blocking.per_thread();

  // Rows are distributed in whole panels, in a number of blocks that divides evenly among the threads. If there are too
  // few rows for that, a task is a block of rows and a strip of the columns.
  const int64_t row_panels = ceil_div(m, kTileRows);
  const int64_t row_blocks = smaller(row_panels, round_up(ceil_div(m, kBlockRows), team.size));

  for (int64_t j0 = of_n.begin; j0 < of_n.end; j0 += blocking.columns) {
    for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += blocking.depth) {
      const PackedB<T> piece{workspace, k0, smaller(k0 + blocking.depth, k), j0,
                             smaller(j0 + blocking.columns, of_n.end)};
      if (j0 > of_n.begin || k0 > 0) team.barrier();  // no thread may overwrite panels that another still reads
      piece.pack(b, team);
      team.barrier();

      const int64_t panels = piece.panels();
      const int64_t strips = row_blocks % team.size == 0 ? 1 : smaller(panels, ceil_div(4 * team.size, row_blocks));
      const Range tasks = team.share(row_blocks * strips);
      for (int64_t task = tasks.begin; task < tasks.end; ++task) {
        const int64_t block = task / strips, strip = task % strips;
        const Range of_panels = part_of(row_panels, block, row_blocks);
        const int64_t i0 = of_panels.begin * kTileRows, i1 = smaller(of_panels.end * kTileRows, m);
        compute_block(a, piece, c, bias, relu && piece.k1 == k, i0, i1 - i0, panels * strip / strips,
                      panels * (strip + 1) / strips, scratch, blocking.packed_a);
      }
    }
  }
}

constexpr double kWorthAThread = 1 << 19;  // multiply-adds; starting a thread's work takes some microseconds

// All available threads if `work` multiply-adds are worth more than one, else one; parallel_for explains why not fewer.
inline int threads_worth(double work, int available) { return work < kWorthAThread ? 1 : available; }

// C_i = A_i B_i for i = 0 .. batch - 1; `a`, `b` and `c` return the operands and the result of product i. `bias`, n
// numbers, is added to each row of the results unless it is null; `relu` then applies max(., 0).
//
// Threads that wait for each other may sleep and take long to wake, so they share a piece of B only if they must. Many
// small products are distributed whole. In a product with few rows and many columns, each thread computes its own
// columns, for which it packs A again. Other products are computed one by one by all threads together.
template <class T, class OperandA, class OperandB, class Result>
void gemm(int64_t batch, int64_t m, int64_t n, int64_t k, OperandA a, OperandB b, Result c, const T* bias = nullptr,
          bool relu = false) {
  if (batch == 0 || m == 0 || n == 0) return;
  using Element = typename decltype(c(0))::Element;
  const double work = static_cast<double>(batch) * m * n * larger(k, 1);
  const int threads = threads_worth(work, num_threads());
  const int64_t panels = ceil_div(n, kTileColumns<T>);
  const bool whole = batch >= 4 * threads || work / batch < kWorthAThread;
  const bool strips = !whole && m <= kBlockRows && panels >= 8 * threads;
  const bool alone = whole || strips;

  const int64_t columns = strips ? ceil_div(panels, threads) * kTileColumns<T> : n;
  const Blocking<T> blocking(m, columns, k, std::is_same_v<Element, T>);
  const int64_t workspace = blocking.workspace(alone ? 1 : threads);
  Buffer buffer(saturated_product(alone ? threads : 1, workspace, sizeof(T)));
  T* const memory = reinterpret_cast<T*>(buffer.data());
  parallel_team(threads, [&](int rank, int size) {
    const Team team{rank, size};
    const Range products = whole ? team.share(batch) : Range{0, batch};
    const Range of_panels = strips ? team.share(panels) : Range{0, panels};
    const Range of_n{of_panels.begin * kTileColumns<T>, smaller(of_panels.end * kTileColumns<T>, n)};
    T* const own = memory + (alone ? team.rank * workspace : 0);
    for (int64_t i = products.begin; i < products.end; ++i) {
      if (!alone && i > 0) team.barrier();
      multiply_together<T>(alone ? Team{0, 1} : team, blocking, own, m, of_n, k, a(i), b(i), c(i), bias, relu);
    }
  });
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
