// Gathers rows of a matrix by index, and adds rows into a matrix by index.
#include <type_traits>

#include "kernels/common/dispatch.h"
#include "kernels/common/plan.h"
#include "kernels/cuda/compact.h"
#include "kernels/cuda/device_errors.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {
namespace {

template <class Function>
void dispatch_index(DType dtype, Function&& function) {
  dtype == DType::int64 ? function(int64_t{}) : function(int32_t{});
}

// ---------------------------------------------------------------------------------------------------------------------
// out[i] = a[indices[i]], rows of `width` words; those of `a` are `stride` words apart. 2^row_bits threads, at most a
// block, copy a row; neighbouring threads copy neighbouring words. The row of an invalid index becomes zeros.
//
// Bound by memory: each byte is read and written once, in words of up to 16 bytes. 2000 rows of 650 float32 are 10.4
// MB, which should take 3 to 4 us, about as long as a launch.
template <class Word, class Index>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const Word* a, int64_t stride, const Index* indices, int64_t count, Word* out, int64_t width,
                  int row_bits, IndexLimit limit) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * blockDim.x >> row_bits;
  const int64_t lane = thread & ((1 << row_bits) - 1);
  for (int64_t i = thread >> row_bits; i < count; i += step) {
    const int64_t index = indices[i];
    const bool is_valid = limit.contains(index);
    if (!is_valid && lane == 0) limit.allows(index, i);  // records the error
#pragma unroll 1  // unrolling would compute the trip count by a division, for every row
    for (int64_t c = lane; c < width; c += 1 << row_bits)
      out[i * width + c] = is_valid ? a[index * stride + c] : Word{};
  }
}

template <class Word>
void gather_words(const Array& a, const Array& indices, std::byte* out) {
  const int64_t size = itemsize(a.dtype), word = sizeof(Word), width = a.shape[1] * size / word, count = indices.size();
  int row_bits = 0;
  while ((1 << row_bits) < std::min<int64_t>(width, kThreads)) ++row_bits;
  dispatch_index(indices.dtype, [&](auto zero) {
    using Index = decltype(zero);
    launch(gather_kernel<Word, Index>, blocks_for(count, kThreads >> row_bits), kThreads,
           reinterpret_cast<const Word*>(first_byte(a)), a.strides[0] * size / word, indices.data<Index>(), count,
           reinterpret_cast<Word*>(out), width, row_bits, index_limit("gather", "index", a.shape[0]));
  });
}

// The largest word size, up to 16 bytes, with which every row of `a` and `out` can be copied.
int word_of_rows(const Array& a, const std::byte* out) {
  const int64_t size = itemsize(a.dtype);
  const auto bits = reinterpret_cast<uintptr_t>(first_byte(a)) | reinterpret_cast<uintptr_t>(out) |
                    static_cast<uintptr_t>(a.shape[1] * size) | static_cast<uintptr_t>(a.strides[0] * size) | 16;
  return static_cast<int>(bits & -bits);  // the lowest bit
}

// `indices`, the rows of `a` and the result at `out` must be compact.
void gather_rows(const Array& a, const Array& indices, std::byte* out) {
  switch (word_of_rows(a, out)) {
    case 1: return gather_words<uint8_t>(a, indices, out);
    case 2: return gather_words<uint16_t>(a, indices, out);
    case 4: return gather_words<uint32_t>(a, indices, out);
    case 8: return gather_words<uint2>(a, indices, out);
    default: return gather_words<uint4>(a, indices, out);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// out[indices[i]] += a[i] for i = 0..count-1, at most kMostIndices; they are a call's indices from number `first` on.
//
// Sums must not depend on which thread comes first, so rows are added in the order of i. One block computes all of a
// row of `out`: the block of the first i with that index. It finds the other i with its index, 32 per word of bits, and
// lists them in order. Each thread then sums columns along that list, with kAtOnce rows in flight.
//
// The blocks of a launch compare count^2 pairs of indices, 4 million at most, from the L2 cache. For 2000 indices and a
// width of 650 that should take about as long as reading the 16 MB of rows, 5 us each. More indices take more launches,
// in order. If all indices of a launch are equal, one block waits for memory kMostIndices / kAtOnce times, which should
// take 0.1 ms.
constexpr int kMostIndices = 2048, kAtOnce = 8, kSumThreads = 128;
constexpr int kColumns = 4;  // per thread, kSumThreads apart

template <class T, class Sum, class Out, class Index>
__global__ void __launch_bounds__(kSumThreads)
    scatter_add_kernel(const T* a, const Index* indices, int count, int64_t first, Out* out, int64_t width,
                       IndexLimit limit) {
  constexpr int kWords = kMostIndices / kWarp;
  __shared__ uint32_t same[kWords];  // bit i % 32 of word i / 32: whether indices[i] is this block's index
  __shared__ int16_t list[kMostIndices];
  __shared__ int length;

  const int mine = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int64_t index = indices[mine];
  if (!limit.contains(index)) {
    if (thread == 0 && blockIdx.y == 0) limit.allows(index, first + mine);  // records the error
    return;
  }
  for (int i = thread; i < kMostIndices; i += kSumThreads) {
    const uint32_t bits = __ballot_sync(0xffffffff, i < count && indices[i] == index);
    if (i % kWarp == 0) same[i / kWarp] = bits;
  }
  __syncthreads();
  if (thread < kWords) {
    int place = 0;
    for (int word = 0; word < thread; ++word) place += __popc(same[word]);
    for (uint32_t bits = same[thread]; bits != 0; bits &= bits - 1)
      list[place++] = static_cast<int16_t>(thread * kWarp + __ffs(static_cast<int>(bits)) - 1);
    if (thread == kWords - 1) length = place;
  }
  __syncthreads();
  if (list[0] != mine) return;

  const int64_t column = int64_t{blockIdx.y} * (kSumThreads * kColumns) + thread;
  Sum sum[kColumns] = {};
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
    if (column + c * kSumThreads < width) sum[c] = static_cast<Sum>(out[index * width + column + c * kSumThreads]);
  for (int begin = 0; begin < length; begin += kAtOnce) {
    T values[kAtOnce][kColumns] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        if (begin + k < length && column + c * kSumThreads < width)
          values[k][c] = a[list[begin + k] * width + column + c * kSumThreads];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        if (begin + k < length && column + c * kSumThreads < width) sum[c] += static_cast<Sum>(values[k][c]);
  }
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
    if (column + c * kSumThreads < width) out[index * width + column + c * kSumThreads] = static_cast<Out>(sum[c]);
}

// T is the type of a's elements; sums are accumulated in Sum and stored as Out.
template <class T, class Sum, class Out>
void scatter_add_typed(const Array& a, const Array& indices, DType out_dtype, const Array& out) {
  const int64_t count = indices.size(), width = out.shape[1], slice = kSumThreads * kColumns;
  const Compact rows(a), numbers(indices), sums(out, out_dtype);
  const IndexLimit limit = index_limit("scatter_add", "index", out.shape[0]);
  const auto slices = static_cast<unsigned>((width + slice - 1) / slice);
  dispatch_index(indices.dtype, [&](auto zero) {
    using Index = decltype(zero);
    for (int64_t first = 0; first < count; first += kMostIndices) {
      const int length = static_cast<int>(std::min<int64_t>(kMostIndices, count - first));
      launch(scatter_add_kernel<T, Sum, Out, Index>, dim3(static_cast<unsigned>(length), slices), kSumThreads,
             rows.data<T>() + first * width, numbers.data<Index>() + first, length, first, sums.data<Out>(), width,
             limit);
    }
  });
  sums.store();
}

}  // namespace

void gather(const Array& a, const Array& indices, const Array& out) {
  const Compact numbers(indices), picked(out, Content::overwritten);
  std::byte* to = first_byte(picked.array());
  if (a.shape[1] == 1 || a.strides[1] == 1)
    gather_rows(a, numbers.array(), to);
  else
    gather_rows(Compact(a).array(), numbers.array(), to);
  picked.store();
}

void scatter_add(const Array& a, const Array& indices, const Array& out) {
  // Half-type sums must be rounded only once, so with several launches they accumulate in a copy.
  const bool is_one_launch = indices.size() <= kMostIndices;
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (is_floating<T>) {
      if (std::is_same_v<T, Compute<T>> || is_one_launch)
        scatter_add_typed<T, Compute<T>, T>(a, indices, out.dtype, out);
      else
        scatter_add_typed<T, float, float>(a, indices, DType::float32, out);
    } else if constexpr (!std::is_same_v<T, bool>) {
      using Wrapping = std::make_unsigned_t<T>;
      scatter_add_typed<Wrapping, Wrapping, Wrapping>(a, indices, out.dtype, out);
    }
  });
}

}  // namespace needle::cuda
