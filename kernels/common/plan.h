// The order in which a kernel visits the elements of several arrays of one shape.
//
// Axes of extent 1 are dropped; the rest are sorted so that the first array's smallest stride is innermost; neighbours
// that every array steps through as one are merged. Compact arrays of any shape thus become one dimension, a sum over
// the rows of a matrix two. Dimension 0 of a plan is the innermost one.
#pragma once

#include "kernels/common/array.h"

namespace needle {

// Where the element (0, 0, ...) lies.
std::byte* first_byte(const Array& a);

inline constexpr int kMaxOperands = 5;

struct Plan {
  int num_operands;
  int ndim = 1;
  int64_t size = 1;                            // number of positions
  int64_t extent[kMaxDims] = {1};
  int64_t stride[kMaxOperands][kMaxDims] = {};  // in bytes
  std::byte* data[kMaxOperands];

  // Over those axes of the arrays whose bit is set in `axes`; a 0-d array is broadcast. arrays[0] is not broadcast.
  Plan(const Array* const* arrays, int num_operands, unsigned axes);

  void swap_dimensions(int a, int b);
  // The same positions without those of the `count` innermost dimensions but the first.
  Plan without_innermost(int count) const;
};

inline constexpr unsigned kAllAxes = ~0u;
// All axes but the last.
static inline unsigned leading_axes(const Array& a) { return (1u << (a.ndim - 1)) - 1; }
static inline int64_t last_extent(const Array& a) { return a.shape[a.ndim - 1]; }

// A position of a plan, with the address of each operand there.
class Cursor {
 public:
  // `position` counts in the plan's order.
  Cursor(const Plan& plan, int64_t position);

  std::byte* pointer(int operand) const { return pointer_[operand]; }
  // Positions from here to the end of the innermost dimension.
  int64_t remaining() const { return plan_.extent[0] - index_[0]; }
  // Moves on by count <= remaining().
  void advance(int64_t count);

 private:
  const Plan& plan_;
  int64_t index_[kMaxDims];
  std::byte* pointer_[kMaxOperands];
};

}  // namespace needle
