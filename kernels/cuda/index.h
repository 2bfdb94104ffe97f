// Maps an element's position to its memory offset, which strided kernels compute for each element.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/plan.h"

namespace needle::cuda {

// Division by an extent that is known before a kernel starts, as a multiplication and a shift (Granlund and Montgomery
// 1994): for 0 <= n < 2^31, n / extent = (mulhi(n, multiplier) + n) >> shift. GPUs have no integer division
// instruction.
struct Divisor {
  uint32_t extent = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  // 1 <= extent < 2^31
  __host__ __device__ explicit Divisor(uint32_t extent) : extent(extent) {
    while ((uint64_t{1} << shift) < extent) ++shift;
    multiplier = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift) - extent) / extent + 1);
  }

  __host__ __device__ uint32_t divide(uint32_t n) const {
    return (static_cast<uint32_t>(uint64_t{n} * multiplier >> 32) + n) >> shift;
  }
};

// The shape and strides of a Plan, for the device. Positions count from 0 in the plan's order; dimension 0 is
// innermost.
template <int operands>
struct Strides {
  int ndim;
  Divisor extent[kMaxDims];
  int64_t stride[operands][kMaxDims];  // in bytes

  // The plan has fewer than 2^31 positions.
  explicit Strides(const Plan& plan) : ndim(plan.ndim) {
    for (int d = 0; d < ndim; ++d) {
      extent[d] = Divisor(static_cast<uint32_t>(plan.extent[d] ? plan.extent[d] : 1));
      for (int k = 0; k < operands; ++k) stride[k][d] = plan.stride[k][d];
    }
  }

  // The byte offset of the element at `position` from each operand's first element.
  __device__ void locate(uint32_t position, int64_t (&offset)[operands]) const {
    for (int k = 0; k < operands; ++k) offset[k] = 0;
#pragma unroll
    for (int d = 0; d < kMaxDims; ++d) {
      if (d == ndim) break;
      const uint32_t next = extent[d].divide(position), index = position - next * extent[d].extent;
      for (int k = 0; k < operands; ++k) offset[k] += index * stride[k][d];
      position = next;
    }
  }
};

inline constexpr int64_t kMostPositions = (int64_t{1} << 31) - 1;

// The strides of a plan that may have more positions, for which it uses 64-bit divisions.
template <int operands>
class Positions {
 public:
  int64_t size;

  explicit Positions(const Plan& plan) : size(plan.size), strides_(shortened(plan)) {
    std::copy(plan.extent, plan.extent + kMaxDims, extent_);
  }

  __device__ void locate(int64_t position, int64_t (&offset)[operands]) const {
    if (strides_.ndim == 1) {
      step(position, offset);
    } else if (size <= kMostPositions) {
      strides_.locate(static_cast<uint32_t>(position), offset);
    } else {
      for (int k = 0; k < operands; ++k) offset[k] = 0;
      for (int d = 0; d < strides_.ndim; ++d) {
        for (int k = 0; k < operands; ++k) offset[k] += position % extent_[d] * strides_.stride[k][d];
        position /= extent_[d];
      }
    }
  }

  // Like locate, for a one-dimensional plan.
  __device__ void step(int64_t position, int64_t (&offset)[operands]) const {
    for (int k = 0; k < operands; ++k) offset[k] = position * strides_.stride[k][0];
  }

 private:
  static Plan shortened(Plan plan) {  // clamps the extents, so that a Divisor exists; clamped ones are not used
    for (int64_t& extent : plan.extent) extent = std::min(extent, kMostPositions);
    return plan;
  }

  Strides<operands> strides_;
  int64_t extent_[kMaxDims];
};

// Calls body(part) for plans that divide the positions of `plan`, each with at most kMostPositions.
template <class Body>
void for_each_part(const Plan& plan, const Body& body) {
  if (plan.size <= kMostPositions) return body(plan);
  int outer = plan.ndim - 1;
  while (plan.extent[outer] == 1) --outer;
  for (int half = 0; half < 2; ++half) {
    Plan part = plan;
    const int64_t first = plan.extent[outer] / 2;
    part.extent[outer] = half ? plan.extent[outer] - first : first;
    part.size = plan.size / plan.extent[outer] * part.extent[outer];
    if (half)
      for (int k = 0; k < plan.num_operands; ++k) part.data[k] += first * plan.stride[k][outer];
    for_each_part(part, body);
  }
}

}  // namespace needle::cuda
