#include "kernels/common/pooling.h"

namespace needle {

PoolingGeometry::PoolingGeometry(const char* op, NamedArray x, NamedArray out, int64_t kernel, int64_t stride,
                                 int64_t padding)
    : rows{x.array.shape[1], out.array.shape[1], kernel, stride, padding},
      columns{x.array.shape[2], out.array.shape[2], kernel, stride, padding},
      images(x.array.shape[0]),
      channels(x.array.shape[3]) {
  constexpr int64_t kMost = int64_t{1} << 31;
  check_floating(op, x);
  check_same_dtype(op, x, out);
  check_ndim(op, x, 4);
  check_ndim(op, out, 4);
  if (kernel < 1 || kernel > kMost || stride < 1 || stride > kMost)
    throw_shape_error("%s: kernel %ld and stride %ld, expected both to be 1 to %ld", op, kernel, stride, kMost);
  if (padding < 0 || padding > kernel / 2)
    throw_shape_error("%s: padding %ld, expected 0 to %ld (half of the kernel, so that every window meets a pixel)", op,
                      padding, kernel / 2);
  const int64_t height = rows.extent + 2 * padding, width = columns.extent + 2 * padding;
  if (rows.extent < 1 || columns.extent < 1 || height < kernel || width < kernel)
    throw_shape_error("%s: %s %s with padding %ld, expected images of one window of %ld x %ld or more", op, x.name,
                      ShapeText(x.array).text, padding, kernel, kernel);
  const int64_t out_height = (height - kernel) / stride + 1, out_width = (width - kernel) / stride + 1;
  if (!out.array.has_shape({images, out_height, out_width, channels}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld, %ld)", op, out.name, ShapeText(out.array).text,
                      images, out_height, out_width, channels);
}

}  // namespace needle
