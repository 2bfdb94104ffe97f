// The order in which a kernel visits the elements of several arrays of one shape.
//
// Axes of extent 1 are dropped. The rest are sorted so that the first array's smallest stride is innermost, and
// neighbouring axes are merged where every array can step through them as one. So compact arrays of any shape need one
// dimension, and a sum over the rows of a matrix needs two. Dimension 0 of a plan is the innermost one.
#pragma once

#include "kernels/common/array.h"

namespace needle {

// The address of element (0, 0, ...).
std::byte* first_byte(const Array& a);

inline constexpr int kMaxOperands = 16;

struct Plan {
  int num_operands;
  int ndim = 1;
  int64_t size = 1;  // number of positions
  int64_t extent[kMaxDims] = {1};
  int64_t stride[kMaxOperands][kMaxDims];  // in bytes, of num_operands operands and ndim dimensions
  std::byte* data[kMaxOperands];

  // Covers the axes whose bit is set in `axes`. 0-d arrays are broadcast, except arrays[0].
  Plan(const Array* const* arrays, int num_operands, unsigned axes);

  void swap_dimensions(int a, int b);
  // The plan without its `count` innermost dimensions: it keeps the positions at their index 0.
  Plan without_innermost(int count) const;
};

inline constexpr unsigned kAllAxes = ~0u;
// All axes but the last.
static inline unsigned leading_axes(const Array& a) { return (1u << (a.ndim - 1)) - 1; }
static inline int64_t last_extent(const Array& a) { return a.shape[a.ndim - 1]; }
// The number of rows of x (..., C).
static inline int64_t row_count(const Array& x) {
  int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim; ++d) rows *= x.shape[d];
  return rows;
}
// The axes that a reduction of a to out removes: out has extent 1 along them and a does not.
static inline unsigned reduced_axes(const Array& a, const Array& out) {
  unsigned axes = 0;
  for (int d = 0; d < a.ndim; ++d)
    if (a.shape[d] != out.shape[d]) axes |= 1u << d;
  return axes;
}

// A position in a plan, with the address of each operand there.
class Cursor {
 public:
  // `position` is an index in the plan's order.
  Cursor(const Plan& plan, int64_t position);

  std::byte* pointer(int operand) const { return pointer_[operand]; }
  // The number of positions from here to the end of the innermost dimension.
  int64_t remaining() const { return plan_.extent[0] - index_[0]; }
  // Advances by count <= remaining() positions.
  void advance(int64_t count);

 private:
  const Plan& plan_;
  int64_t index_[kMaxDims];
  std::byte* pointer_[kMaxOperands];
};

}  // namespace needle
