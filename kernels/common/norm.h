// Checks of the operands of batch and layer normalization. They are static, so that the linker cannot substitute code
// compiled for another instruction level.
#pragma once

#include "kernels/common/check.h"
#include "kernels/common/plan.h"

namespace needle {

static inline int64_t row_count(const Array& x) {
  int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim; ++d) rows *= x.shape[d];
  return rows;
}

static inline void check_rows(const char* op, const Array& x) {
  check_floating(op, {"x", x});
  if (x.ndim == 0) throw_shape_error("%s: x has shape (), expected at least one axis", op);
}

// For batch normalization: the mean over zero rows is undefined.
static inline void check_any_rows(const char* op, const Array& x) {
  if (row_count(x) == 0) throw_shape_error("%s: x has shape %s, expected at least one row", op, ShapeText(x).text);
}

// For layer normalization.
static inline void check_not_empty_rows(const char* op, const Array& x) {
  if (last_extent(x) == 0)
    throw_shape_error("%s: x has shape %s, expected at least one element along the last axis", op, ShapeText(x).text);
}

static inline void check_like(const char* op, NamedArray a, const Array& x) {
  check_same_dtype(op, a, {"x", x});
  check_same_shape(op, a, {"x", x});
}

// Parameters and statistics have x's dtype; if x is a half type, they may also be float32.
static inline void check_parameter_dtype(const char* op, NamedArray a, const Array& x) {
  if (a.array.dtype != DType::float32 || !is_half_dtype(x.dtype)) check_same_dtype(op, a, {"x", x});
}

// A vector of shape (C,).
static inline void check_parameter(const char* op, NamedArray a, const Array& x) {
  check_parameter_dtype(op, a, x);
  check_vector(op, a, last_extent(x));
}

// One number per row.
static inline void check_row_statistics(const char* op, NamedArray a, const Array& x) {
  check_parameter_dtype(op, a, x);
  check_leading_shape(op, a, {"x", x});
}

}  // namespace needle
