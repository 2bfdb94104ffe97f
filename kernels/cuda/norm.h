// Shared by batch and layer normalization: parameters, and per-channel sums over the rows of x (..., C).
//
// A thread takes up to 4 neighbouring channels and every `kThreads / columns`-th row of a part of the rows; `columns`
// neighbouring threads cover neighbouring channels, so that a block reads memory in order.
#pragma once

#include "kernels/common/plan.h"
#include "kernels/common/sizes.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/lanes.h"

namespace needle::cuda {

// A vector (C,) of T; if T is a half type, it may also be float32.
template <class T>
struct Parameter {
  std::byte* first = nullptr;  // null for an optional vector that is not given
  int64_t stride = 0;          // in bytes
  bool is_float32 = false;

  Parameter() = default;
  explicit Parameter(const Array& a)
      : first(first_byte(a)),
        stride(a.ndim ? a.strides[0] * itemsize(a.dtype) : 0),
        is_float32(a.dtype == DType::float32) {}

  __device__ Compute<T> operator[](int64_t c) const { return read(first + c * stride); }
  __device__ void set(int64_t c, Compute<T> value) const { write(first + c * stride, value); }

  __device__ Compute<T> read(const std::byte* at) const {
    if (is_float32) return static_cast<Compute<T>>(*reinterpret_cast<const float*>(at));
    return static_cast<Compute<T>>(*reinterpret_cast<const T*>(at));
  }
  __device__ void write(std::byte* at, Compute<T> value) const {
    if (is_float32)
      *reinterpret_cast<float*>(at) = static_cast<float>(value);
    else
      *reinterpret_cast<T*>(at) = static_cast<T>(value);
  }
};

// The number of channels in a pack.
template <class T>
inline constexpr int kChannelWidth = sizeof(T) == 8 ? 2 : 4;

template <int arrays>
struct Channels {
  int64_t channels, rows;
  int64_t length;             // rows of a part
  int columns;                // a power of two
  Positions<arrays> leading;  // the offsets of the rows
  int64_t step[arrays];       // in bytes, from channel to channel
  std::byte* data[arrays];

  // This thread's first channel, and its first row within a part.
  template <int width>
  __device__ int64_t channel() const {
    return (int64_t{blockIdx.x} * columns + threadIdx.x % columns) * width;
  }
  __device__ int row() const { return threadIdx.x / columns; }
  __device__ int row_step() const { return kThreads / columns; }
  __device__ int64_t end() const { return std::min((blockIdx.y + 1) * length, rows); }
  __device__ int64_t begin() const { return blockIdx.y * length + row(); }

  // The addresses of a row's channels from `channel` on. Packs (width > 1) require equally spaced rows.
  template <int width>
  __device__ void locate(int64_t row, int64_t channel, std::byte* (&at)[arrays]) const {
    int64_t offset[arrays];
    if (width > 1)
      leading.step(row, offset);
    else
      leading.locate(row, offset);
    for (int k = 0; k < arrays; ++k) at[k] = data[k] + offset[k] + channel * step[k];
  }
};

template <class T, int width>
__device__ Pack<T, width> read_pack(const std::byte* at) {
  return *reinterpret_cast<const Pack<T, width>*>(at);
}
template <class T, int width>
__device__ void write_pack(std::byte* at, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(at) = pack;
}

inline constexpr int kShortBlock = 32;  // rows whose values are added in x's compute type
inline constexpr int kRowsAtOnce = 4;   // rows whose loads a thread has in flight

// Joins the partial results of the threads of a block that have the same channels; threads with row() 0 get the total.
template <class Partial, int width, class Join>
__device__ void join_rows(Partial (&partial)[width], int columns, const Join& join) {
  __shared__ Partial shared[width][kThreads];
  const int row = threadIdx.x / columns;
  for (int j = 0; j < width; ++j) shared[j][threadIdx.x] = partial[j];
  for (int half = kThreads / columns / 2; half > 0; half /= 2) {
    __syncthreads();
    if (row >= half) continue;
    for (int j = 0; j < width; ++j) {
      join(partial[j], shared[j][threadIdx.x + half * columns]);
      shared[j][threadIdx.x] = partial[j];
    }
  }
}

// Joins the results of a channel's parts. Each warp handles one channel, `channel`. Lane 0 gets the result.
template <class Partial, class Join>
__device__ Partial join_parts(const Partial* partials, int64_t channel, int64_t channels, int parts, const Join& join) {
  Partial partial{};
  if (channel < channels)
    for (int part = threadIdx.x % kWarp; part < parts; part += kWarp) join(partial, partials[channel * parts + part]);
  return join_within_warp(partial, kWarp, join);
}

// Sums over rows of a gradient, and of its product with the normalized x or, before it is scaled, x - mean.
struct GradientSums {
  double grad, product;
};

struct JoinGradientSums {
  __device__ void operator()(GradientSums& left, const GradientSums& right) const {
    left = {left.grad + right.grad, left.product + right.product};
  }
};

__device__ inline GradientSums shuffle_xor(const GradientSums& sums, int bits) {
  return {cuda::shuffle_xor(sums.grad, bits), cuda::shuffle_xor(sums.product, bits)};
}

// Device memory for `count` values, returned to the pool once the kernels that use it have been launched.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : buffer_(saturated_product(std::max<int64_t>(count, 1), sizeof(T)), *device().pool) {}
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }

 private:
  Buffer buffer_;
};

inline unsigned blocks_of_threads(int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }
inline unsigned blocks_of_warps(int64_t count) { return blocks_of_threads(count * kWarp); }

// Calls start(channels, grid, packed); grid.y is the number of parts. `packed` means that kChannelWidth<T> channels can
// be read at once.
template <class T, int arrays, class Start>
void for_channels(const Array* const (&list)[arrays], const Start& start) {
  constexpr int width = kChannelWidth<T>;
  const Array& x = *list[0];
  const int last = x.ndim - 1;
  const Plan plan(list, arrays, leading_axes(x));
  Channels<arrays> job{x.shape[last], plan.size, 0, 0, Positions<arrays>(plan), {}, {}};
  bool packed = plan.ndim == 1 && job.channels % width == 0;
  for (int k = 0; k < arrays; ++k) {
    job.data[k] = plan.data[k];
    if (list[k]->ndim != x.ndim) continue;  // arrays with one number per row
    job.step[k] = list[k]->strides[last] * int64_t{sizeof(T)};
    packed &= job.step[k] == sizeof(T) && reinterpret_cast<uintptr_t>(plan.data[k]) % (width * sizeof(T)) == 0;
    for (int d = 0; d < plan.ndim; ++d) packed &= plan.extent[d] <= 1 || plan.stride[k][d] % (width * sizeof(T)) == 0;
  }
  const int64_t packs = packed ? job.channels / width : job.channels;
  job.columns = static_cast<int>(std::min<int64_t>(power_of_two(packs), kWarp));
  const int64_t blocks = (packs + job.columns - 1) / job.columns, enough = int64_t{device().multiprocessors} * 8;
  if (blocks == 0 || plan.size == 0) return;
  const int64_t least = kThreads / job.columns * 2 * kRowsAtOnce;  // rows of a part
  const int64_t most = std::min<int64_t>(plan.size / least, 65535);
  const int64_t parts = std::max<int64_t>(std::min((enough + blocks - 1) / blocks, most), 1);
  job.length = (plan.size + parts - 1) / parts;
  const int64_t full = (plan.size + job.length - 1) / job.length;  // parts that contain rows
  start(job, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(full)), packed);
}

}  // namespace needle::cuda
