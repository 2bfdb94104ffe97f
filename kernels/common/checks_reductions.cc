// Checks of the reductions.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"
#include "kernels/common/plan.h"

namespace needle::check {
namespace {

void check_axes(const char* op, const Array& a, const Array& out) {
  bool matches = a.ndim == out.ndim;
  for (int d = 0; matches && d < a.ndim; ++d) matches = out.shape[d] == a.shape[d] || out.shape[d] == 1;
  if (!matches)
    throw_shape_error("%s: a has shape %s and out %s, expected extent 1 along reduced axes and equal extents elsewhere",
                      op, ShapeText(a).text, ShapeText(out).text);
}

// For reductions that are undefined for zero elements.
void check_not_empty(const char* op, const Array& a, const Array& out) {
  if (a.size() == 0 && out.size() != 0)
    throw_shape_error("%s: a has shape %s, expected at least one element along the reduced axes", op,
                      ShapeText(a).text);
}

void check_extremum(const char* op, const Array& a, const Array& out) {
  check_same_dtype(op, {"a", a}, {"out", out});
  check_axes(op, a, out);
  check_not_empty(op, a, out);
}

void check_arg_extremum(const char* op, const Array& a, const Array& out) {
  check_dtype(op, {"out", out}, DType::int64);
  check_axes(op, a, out);
  check_not_empty(op, a, out);
  const unsigned axes = reduced_axes(a, out);
  if (axes & (axes - 1))
    throw_shape_error("%s: a has shape %s and out %s, expected one reduced axis", op, ShapeText(a).text,
                      ShapeText(out).text);
}

}  // namespace

void check_sum(const char* op, const Array& a, const Array& out) {
  check_not_bool(op, {"a", a});
  if (!is_half_dtype(a.dtype) || out.dtype != DType::float32) check_same_dtype(op, {"a", a}, {"out", out});
  check_axes(op, a, out);
}

void sum(const Array& a, const Array& out) { check_sum("sum", a, out); }

void sum_of_squares(const Array& a, const Array& out) {
  check_floating("sum_of_squares", {"a", a});
  check_dtype("sum_of_squares", {"out", out}, a.dtype == DType::float64 ? DType::float64 : DType::float32);
  check_axes("sum_of_squares", a, out);
}

void max(const Array& a, const Array& out) { check_extremum("max", a, out); }
void min(const Array& a, const Array& out) { check_extremum("min", a, out); }
void argmax(const Array& a, const Array& out) { check_arg_extremum("argmax", a, out); }
void argmin(const Array& a, const Array& out) { check_arg_extremum("argmin", a, out); }

}  // namespace needle::check
