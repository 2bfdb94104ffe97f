// out (..., m, n) = a (..., m, k) @ b (..., k, n): matrices of any strides, by the loop nest of gemm.h.
#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

void check(const Array& a, const Array& b, const Array& out) {
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

// Where matrix number `index` of a batch begins, the leading dimensions in row-major order.
int64_t matrix_offset(const Array& array, int64_t index) {
  int64_t offset = 0;
  for (int d = array.ndim - 3; d >= 0; --d) {
    offset += index % array.shape[d] * array.strides[d];
    index /= array.shape[d];
  }
  return offset;
}

}  // namespace

void matmul(const Array& a, const Array& b, const Array& out) {
  check(a, b, out);
  const int rows = a.ndim - 2, columns = a.ndim - 1;
  int64_t batch = 1;
  for (int d = 0; d < rows; ++d) batch *= a.shape[d];
  dispatch(a.dtype, [&](auto zero) {
    using Element = typename GemmTypes<decltype(zero)>::Element;
    using Sum = typename GemmTypes<decltype(zero)>::Sum;
    const auto operand = [&](const Array& array) {
      return [&](int64_t index) {
        return StridedMatrix<Element>{array.data<Element>() + matrix_offset(array, index), array.strides[rows],
                                      array.strides[columns]};
      };
    };
    const auto result = [&](int64_t index) {
      return StridedResult<Element>{out.data<Element>() + matrix_offset(out, index), out.strides[rows],
                                    out.strides[columns]};
    };
    gemm<Sum>(batch, a.shape[rows], b.shape[columns], a.shape[columns], operand(a), operand(b), result);
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
