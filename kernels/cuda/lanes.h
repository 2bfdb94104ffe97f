// Reductions across neighbouring threads: a group of `lanes` threads of a block, a power of two, joins their partial
// results. Groups are consecutive in the block, and the order of joining is fixed.
#pragma once

#include "kernels/cuda/launch.h"

namespace needle::cuda {

inline constexpr unsigned kAllLanes = 0xffffffff;

template <class T>
__device__ T shuffle_xor(T value, int bits) {
  return static_cast<T>(__shfl_xor_sync(kAllLanes, value, bits));
}

// join(left, right) folds `right` into `left` and must be commutative. Every lane gets the result. Every thread of the
// block must call this, with the same `lanes`: 1 to 32.
template <class Partial, class Join>
__device__ Partial join_within_warp(Partial partial, int lanes, const Join& join) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) join(partial, shuffle_xor(partial, bits));
  return partial;
}

// Like join_within_warp, for 1 to 1,024 lanes.
template <class Partial, class Join>
__device__ Partial join_lanes(Partial partial, int lanes, const Join& join) {
  partial = join_within_warp(partial, lanes < kWarp ? lanes : kWarp, join);
  if (lanes <= kWarp) return partial;
  __shared__ Partial of_warp[kWarp];
  __syncthreads();  // a previous call's shared memory has been read
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = partial;
  __syncthreads();
  const int first = threadIdx.x / lanes * lanes / kWarp;
  partial = of_warp[first];
  for (int warp = 1; warp < lanes / kWarp; ++warp) join(partial, of_warp[first + warp]);
  return partial;
}

// The smallest power of two that is at least n.
inline int64_t power_of_two(int64_t n) {
  int64_t power = 1;
  while (power < n) power *= 2;
  return power;
}

}  // namespace needle::cuda
