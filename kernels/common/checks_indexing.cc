// Checks of the kernels that pick rows or images by index.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"
#include "kernels/common/plan.h"

namespace needle::check {
namespace {

// `table` (rows, width), `picked` (*indices.shape, width).
void check_indexed_rows(const char* op, NamedArray table, const Array& indices, NamedArray picked) {
  check_index_dtype(op, {"indices", indices});
  check_same_dtype(op, table, picked);
  check_ndim(op, table, 2);
  check_leading_shape(op, {"indices", indices}, picked);
  const int64_t width = table.array.shape[1], met = last_extent(picked.array);
  if (width != met)
    throw_shape_error("%s: %s has shape %s and %s has shape %s, expected one width, met %ld and %ld", op, table.name,
                      ShapeText(table.array).text, picked.name, ShapeText(picked.array).text, width, met);
}

}  // namespace

void gather(const Array& a, const Array& indices, const Array& out) {
  check_indexed_rows("gather", {"a", a}, indices, {"out", out});
}

void scatter_add(const Array& a, const Array& indices, const Array& out) {
  check_indexed_rows("scatter_add", {"out", out}, indices, {"a", a});
  check_not_bool("scatter_add", {"a", a});
}

void crop_images(const Array& images, const Array& windows, const Array& values, const Array& out) {
  check_dtype("crop_images", {"images", images}, DType::uint8);
  check_dtype("crop_images", {"windows", windows}, DType::int32);
  check_same_dtype("crop_images", {"values", values}, {"out", out});
  check_ndim("crop_images", {"images", images}, 4);
  check_ndim("crop_images", {"windows", windows}, 2);
  if (windows.shape[1] != 4)
    throw_shape_error("crop_images: windows have shape %s, expected (N, 4)", ShapeText(windows).text);
  if (!out.has_shape({windows.shape[0], images.shape[1], images.shape[2], images.shape[3]}))
    throw_shape_error("crop_images: out has shape %s, expected (%ld, %ld, %ld, %ld)", ShapeText(out).text,
                      windows.shape[0], images.shape[1], images.shape[2], images.shape[3]);
  if (!values.has_shape({images.shape[3], kByteValues}))
    throw_shape_error("crop_images: values have shape %s, expected (%ld, %ld)", ShapeText(values).text, images.shape[3],
                      kByteValues);
}

}  // namespace needle::check
