// Checks of the operands of matmul and linear. They are static, so that the linker cannot substitute code compiled for
// another instruction level.
#pragma once

#include "kernels/common/check.h"

namespace needle {

static inline void check_matmul(const Array& a, const Array& b, const Array& out) {
  check_same_dtype("matmul", {"a", a}, {"b", b});
  check_same_dtype("matmul", {"a", a}, {"out", out});
  if (a.ndim < 2 || b.ndim < 2)
    throw_shape_error("matmul: shapes %s and %s, expected 2 or more dimensions each", ShapeText(a).text,
                      ShapeText(b).text);
  const int rows = a.ndim - 2, columns = a.ndim - 1;
  if (a.shape[columns] != b.shape[b.ndim - 2])
    throw_shape_error("matmul: shapes %s and %s do not match: expected a.shape[-1] == b.shape[-2], met %ld and %ld",
                      ShapeText(a).text, ShapeText(b).text, a.shape[columns], b.shape[b.ndim - 2]);
  bool match = b.ndim == a.ndim, fits = out.ndim == a.ndim;
  for (int d = 0; d < rows; ++d) {
    match = match && a.shape[d] == b.shape[d];
    fits = fits && a.shape[d] == out.shape[d];
  }
  if (!match)
    throw_shape_error("matmul: shapes %s and %s do not match: expected the same leading dimensions", ShapeText(a).text,
                      ShapeText(b).text);
  if (!fits || out.shape[rows] != a.shape[rows] || out.shape[columns] != b.shape[columns])
    throw_shape_error("matmul: out has shape %s for operands %s and %s", ShapeText(out).text, ShapeText(a).text,
                      ShapeText(b).text);
}

static inline void check_linear(const Array& x, const Array& weight, const Array& bias, const Array& out) {
  check_floating("linear", {"x", x});
  check_same_dtype("linear", {"weight", weight}, {"x", x});
  check_same_dtype("linear", {"bias", bias}, {"x", x});
  check_same_dtype("linear", {"out", out}, {"x", x});
  check_ndim("linear", {"x", x}, 2);
  check_ndim("linear", {"weight", weight}, 2);
  const int64_t m = x.shape[0], k = x.shape[1], n = weight.shape[1];
  if (weight.shape[0] != k || !out.has_shape({m, n}))
    throw_shape_error("linear: x has shape %s, weight %s and out %s, expected (m, k), (k, n) and (m, n)",
                      ShapeText(x).text, ShapeText(weight).text, ShapeText(out).text);
  check_vector("linear", {"bias", bias}, n);
}

}  // namespace needle
