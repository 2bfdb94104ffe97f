// Checks of matrix products, convolutions and pooling.
#include "kernels/common/check.h"
#include "kernels/common/checks.h"

namespace needle::check {

// Matrix products

void matmul(const Array& a, const Array& b, const Array& out) {
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

void linear(const Array& x, const Array& weight, const Array& bias, const Array& out, bool /*relu*/) {
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

// Convolutions

namespace {

// `image` is the operand or gradient with C_in channels, `out` the one with C_out.
void check_convolution(const char* op, NamedArray image, NamedArray weight, NamedArray out, int64_t stride,
                       int64_t padding) {
  constexpr int64_t kMost = int64_t{1} << 31;  // bounds the values that are added to and multiplied with extents
  check_floating(op, image);
  check_same_dtype(op, image, weight);
  check_same_dtype(op, image, out);
  check_ndim(op, image, 4);
  check_ndim(op, weight, 4);
  check_ndim(op, out, 4);
  if (stride < 1 || stride > kMost || padding < 0 || padding > kMost)
    throw_shape_error("%s: stride %ld and padding %ld, expected a stride from 1 and a padding from 0 to %ld", op,
                      stride, padding, kMost);
  const Dims &x = image.array.shape, &w = weight.array.shape;
  if (x[3] != w[2])
    throw_shape_error("%s: %s %s and %s %s do not match: expected %s.shape[3] == %s.shape[2], met %ld and %ld", op,
                      image.name, ShapeText(image.array).text, weight.name, ShapeText(weight.array).text, image.name,
                      weight.name, x[3], w[2]);
  int64_t extents[2];
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t padded = x[1 + axis] + 2 * padding;
    if (w[axis] < 1 || w[axis] > padded)
      throw_shape_error("%s: %s %s does not fit %s %s with padding %ld: expected a kernel extent of 1 to %ld, met %ld",
                        op, weight.name, ShapeText(weight.array).text, image.name, ShapeText(image.array).text, padding,
                        padded, w[axis]);
    extents[axis] = (padded - w[axis]) / stride + 1;
  }
  if (!out.array.has_shape({x[0], extents[0], extents[1], w[3]}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld, %ld)", op, out.name, ShapeText(out.array).text,
                      x[0], extents[0], extents[1], w[3]);
}

}  // namespace

void conv2d(const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  check_convolution("conv2d", {"x", x}, {"weight", weight}, {"out", out}, stride, padding);
}

void conv2d_bias(const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding) {
  check_convolution("conv2d_bias", {"x", x}, {"weight", weight}, {"out", out}, stride, padding);
  check_same_dtype("conv2d_bias", {"bias", bias}, {"x", x});
  check_vector("conv2d_bias", {"bias", bias}, weight.shape[3]);
}

void conv2d_backward_data(const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding) {
  check_convolution("conv2d_backward_data", {"grad_x", grad_x}, {"weight", weight}, {"grad_out", grad_out}, stride,
                    padding);
}

void conv2d_backward_weight(const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride,
                            int64_t padding) {
  check_convolution("conv2d_backward_weight", {"x", x}, {"grad_weight", grad_weight}, {"grad_out", grad_out}, stride,
                    padding);
}

// Pooling

namespace {

// Takes x and out of a forward call, or grad_x and grad_out.
void check_pooling(const char* op, NamedArray x, NamedArray out, int64_t kernel, int64_t stride, int64_t padding) {
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
  const Dims& extents = x.array.shape;
  const int64_t height = extents[1] + 2 * padding, width = extents[2] + 2 * padding;
  if (extents[1] < 1 || extents[2] < 1 || height < kernel || width < kernel)
    throw_shape_error("%s: %s %s with padding %ld, expected images of one window of %ld x %ld or more", op, x.name,
                      ShapeText(x.array).text, padding, kernel, kernel);
  const int64_t out_height = (height - kernel) / stride + 1, out_width = (width - kernel) / stride + 1;
  if (!out.array.has_shape({extents[0], out_height, out_width, extents[3]}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld, %ld)", op, out.name, ShapeText(out.array).text,
                      extents[0], out_height, out_width, extents[3]);
}

}  // namespace

void max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  check_pooling("max_pool2d", {"x", x}, {"out", out}, kernel, stride, padding);
}

void max_pool2d_backward(const Array& x, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding) {
  check_pooling("max_pool2d_backward", {"x", x}, {"grad_out", grad_out}, kernel, stride, padding);
  check_like("max_pool2d_backward", {"x", x}, {"grad_x", grad_x});
}

void avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  check_pooling("avg_pool2d", {"x", x}, {"out", out}, kernel, stride, padding);
}

void avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding) {
  check_pooling("avg_pool2d_backward", {"grad_x", grad_x}, {"grad_out", grad_out}, kernel, stride, padding);
}

}  // namespace needle::check
