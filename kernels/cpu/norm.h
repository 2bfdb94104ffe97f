// What batch and layer normalization share: rows x (..., C) and the checks of their operands.
#pragma once

#include "kernels/cpu/fold.h"
#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kTaskSize = 65536;  // elements that one task reduces, about

inline int64_t row_count(const Array& x) {
  int64_t rows = 1;
  for (int d = 0; d + 1 < x.ndim; ++d) rows *= x.shape[d];
  return rows;
}

inline void check_rows(const char* op, const Array& x) {
  check_floating(op, {"x", x});
  if (x.ndim == 0) throw_shape_error("%s: x has shape (), expected at least one axis", op);
}

inline void check_like(const char* op, NamedArray a, const Array& x) {
  check_same_dtype(op, a, {"x", x});
  check_same_shape(op, a, {"x", x});
}

// Parameters and statistics are of x's dtype, or of float32 where x is of a half type.
inline void check_parameter_dtype(const char* op, NamedArray a, const Array& x) {
  if (a.array.dtype != DType::float32 || !is_half_dtype(x.dtype)) check_same_dtype(op, a, {"x", x});
}

// A vector (C,).
inline void check_parameter(const char* op, NamedArray a, const Array& x) {
  check_parameter_dtype(op, a, x);
  check_vector(op, a, last_extent(x));
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
