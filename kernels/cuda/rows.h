// Cooperative processing of rows of x (..., C): `lanes` neighbouring threads take a row, in tiles of which each thread
// holds kHeld values in registers. A row that fits in one tile is read once, however often its values are used.
#pragma once

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/lanes.h"

namespace needle::cuda {

template <class T>
inline constexpr int kHeld = sizeof(T) == 8 ? 8 : 16;
template <class T>
inline constexpr int kMostLanes = sizeof(T) == 8 ? 512 : 1024;

// The rows of arrays that share the leading axes of arrays[0]. Its last axis has `channels` elements; each other array
// has a last axis of the same extent or none.
template <int arrays>
struct Rows {
  uint32_t count;
  int64_t first;  // index of the first row, in the plan's order
  int64_t channels;
  int lanes;                // a power of two
  int64_t tile;             // channels: lanes * kHeld
  Strides<arrays> strides;  // of the leading axes
  int64_t step[arrays];     // in bytes, along the last axis
  std::byte* data[arrays];

  struct Place {
    int64_t row;
    bool exists;
    int lane;
    std::byte* at[arrays];
  };

  // The location of this thread's row.
  __device__ Place place() const {
    const uint32_t row = blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes;
    Place place{first + row, row < count, static_cast<int>(threadIdx.x % lanes), {}};
    int64_t offset[arrays];
    strides.locate(place.exists ? row : 0, offset);
    for (int k = 0; k < arrays; ++k) place.at[k] = data[k] + offset[k];
    return place;
  }

  __device__ bool is_one_tile() const { return channels <= tile; }
};

// The values that a thread holds of a tile.
template <class T, int width>
struct Tile {
  using Value = Compute<T>;
  Value values[kHeld<T>];

  // Calls body(i, c) for each held value: values[i] belongs to channel c.
  template <class Body>
  static __device__ void for_each(int64_t first, int64_t channels, int lanes, int lane, const Body& body) {
#pragma unroll
    for (int pack = 0; pack < kHeld<T> / width; ++pack) {
      const int64_t c = first + (int64_t{pack} * lanes + lane) * width;
      if (c >= channels) continue;
#pragma unroll
      for (int j = 0; j < width; ++j) body(pack * width + j, c + j);
    }
  }

  // Values past the end of the row become `filler`.
  __device__ void load(const std::byte* row, int64_t step, int64_t first, int64_t channels, int lanes, int lane,
                       Value filler) {
#pragma unroll
    for (int pack = 0; pack < kHeld<T> / width; ++pack) {
      const int64_t c = first + (int64_t{pack} * lanes + lane) * width;
      if (c < channels) {
        const auto all = *reinterpret_cast<const Pack<T, width>*>(row + c * step);
#pragma unroll
        for (int j = 0; j < width; ++j) values[pack * width + j] = static_cast<Value>(all.values[j]);
      } else {
#pragma unroll
        for (int j = 0; j < width; ++j) values[pack * width + j] = filler;
      }
    }
  }

  // Writes value(values[i], c) for each held value.
  template <class Function>
  __device__ void store(std::byte* row, int64_t step, int64_t first, int64_t channels, int lanes, int lane,
                        const Function& value) const {
#pragma unroll
    for (int pack = 0; pack < kHeld<T> / width; ++pack) {
      const int64_t c = first + (int64_t{pack} * lanes + lane) * width;
      if (c >= channels) continue;
      Pack<T, width> all;
#pragma unroll
      for (int j = 0; j < width; ++j) all.values[j] = static_cast<T>(value(values[pack * width + j], c + j));
      *reinterpret_cast<Pack<T, width>*>(row + c * step) = all;
    }
  }
};

// The number of values in 16 bytes.
template <class T>
inline constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

// Calls start(rows, grid, block, packed) for arrays of T, in parts with less than 2^31 rows. `packed` means that the
// arrays with a last axis can be read in packs of kPackWidth<T>.
template <class T, int most_lanes = kMostLanes<T>, int arrays, class Start>
void for_rows(const Array* const (&list)[arrays], const Start& start) {
  const Array& x = *list[0];
  const int64_t channels = x.shape[x.ndim - 1];
  const Plan plan(list, arrays, leading_axes(x));
  bool packed = channels % kPackWidth<T> == 0;
  int64_t step[arrays] = {};
  for (int k = 0; k < arrays; ++k) {
    if (list[k]->ndim != x.ndim) continue;
    step[k] = list[k]->strides[x.ndim - 1] * int64_t{sizeof(T)};
    packed &= step[k] == sizeof(T) && reinterpret_cast<uintptr_t>(plan.data[k]) % 16 == 0;
    for (int d = 0; d < plan.ndim; ++d) packed &= plan.extent[d] <= 1 || plan.stride[k][d] % 16 == 0;
  }
  const int64_t packs = packed ? channels / kPackWidth<T> : channels;
  const int64_t lanes = std::max(std::min<int64_t>(power_of_two(packs), kWarp),
                                 std::min<int64_t>(power_of_two((channels + kHeld<T> - 1) / kHeld<T>), most_lanes));
  const int64_t threads = std::max<int64_t>(lanes, kThreads), each = threads / lanes;
  if (plan.size == 0) return;
  int64_t first = 0;
  for_each_part(plan, [&](const Plan& part) {
    Rows<arrays> rows{static_cast<uint32_t>(part.size),
                      first,
                      channels,
                      static_cast<int>(lanes),
                      lanes * kHeld<T>,
                      Strides<arrays>(part),
                      {},
                      {}};
    std::copy(step, step + arrays, rows.step);
    std::copy(part.data, part.data + arrays, rows.data);
    first += part.size;
    start(rows, static_cast<unsigned>((part.size + each - 1) / each), static_cast<unsigned>(threads), packed);
  });
}

}  // namespace needle::cuda
