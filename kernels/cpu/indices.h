// Index operands (labels, row indices) of dtype int32 or int64.
#pragma once

#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Copies the indices in row-major order, so that the checked values are the ones used even if somebody writes to the
// array meanwhile. Throws ShapeError for the first index outside 0..limit-1; the message calls it `what`.
inline void read_indices(const char* op, const char* what, const Array& indices, int64_t limit, int64_t* to) {
  const int64_t count = indices.size();
  const int64_t* const begin = to;
  const std::byte* from = first_byte(indices);
  int64_t position[kMaxDims] = {};
  const int64_t size = itemsize(indices.dtype);
  for (; to != begin + count; ++to) {
    const int64_t index = indices.dtype == DType::int64 ? *reinterpret_cast<const int64_t*>(from)
                                                        : *reinterpret_cast<const int32_t*>(from);
    if (index < 0 || index >= limit)
      throw_shape_error("%s: %s %ld at position %ld, expected 0 to %ld", op, what, index, to - begin, limit - 1);
    *to = index;
    for (int d = indices.ndim - 1; d >= 0; --d) {  // advances to the next index in row-major order
      from += indices.strides[d] * size;
      if (++position[d] < indices.shape[d]) break;
      from -= indices.shape[d] * indices.strides[d] * size;
      position[d] = 0;
    }
  }
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
