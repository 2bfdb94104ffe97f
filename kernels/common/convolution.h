// Index arithmetic and checks of convolutions and their gradients, shared by all backends. A tap is one position in a
// window. Everything here has internal linkage, so that the linker cannot substitute code compiled for another
// instruction level.
#pragma once

#include "kernels/common/check.h"

namespace needle {
namespace {

// The taps of a kernel, along one axis, that fall on a pixel of the image in at least one window.
struct Taps {
  int64_t begin, end;

  Taps(int64_t kernel, int64_t windows, int64_t stride, int64_t padding, int64_t extent)
      : begin(padding - (windows - 1) * stride), end(extent + padding) {
    begin = begin < 0 ? 0 : begin < kernel ? begin : kernel;
    end = end > kernel ? kernel : end > begin ? end : begin;
  }
  int64_t count() const { return end - begin; }
};

// `image` is the operand or gradient with C_in channels, `out` the one with C_out.
inline void check_convolution(const char* op, NamedArray image, NamedArray weight, NamedArray out, int64_t stride,
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
  const ShapeText image_shape(image.array), weight_shape(weight.array), out_shape(out.array);
  const Dims &x = image.array.shape, &w = weight.array.shape;
  if (x[3] != w[2])
    throw_shape_error("%s: %s %s and %s %s do not match: expected %s.shape[3] == %s.shape[2], met %ld and %ld", op,
                      image.name, image_shape.text, weight.name, weight_shape.text, image.name, weight.name, x[3],
                      w[2]);
  int64_t extents[2];
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t padded = x[1 + axis] + 2 * padding;
    if (w[axis] < 1 || w[axis] > padded)
      throw_shape_error("%s: %s %s does not fit %s %s with padding %ld: expected a kernel extent of 1 to %ld, met %ld",
                        op, weight.name, weight_shape.text, image.name, image_shape.text, padding, padded, w[axis]);
    extents[axis] = (padded - w[axis]) / stride + 1;
  }
  if (!out.array.has_shape({x[0], extents[0], extents[1], w[3]}))
    throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld, %ld)", op, out.name, out_shape.text, x[0],
                      extents[0], extents[1], w[3]);
}

// The memory stride of `count` pixels or taps that are `stride` positions apart. A single one needs no stride (0), and
// computing the product for it might overflow.
inline int64_t step_of(int64_t stride, int64_t distance, int64_t count) { return count > 1 ? stride * distance : 0; }

// grad_x[n, y, x, c] is the sum over taps and f of grad_out[n, i, j, f] * weight[h, w, c, f] where i * stride + h = y +
// padding, and likewise for columns. Rows y with the same remainder modulo stride, y = first + stride * y', involve
// only the taps h = h0 + stride * t with h0 = (first + padding) mod stride, and then
// i = y' + (first + padding - h0) / stride - t. So each pair of remainders (of rows and columns) is a stride-1
// convolution of grad_out with a subset of the weights, flipped because t counts backwards. This avoids all products
// with the zeros between dilated gradients.
struct BackwardPart {
  int64_t first, pixels, tap, taps, lead;  // tap: that of the window's first element; lead: windows begin at y' - lead

  BackwardPart(int64_t first, int64_t extent, int64_t windows, int64_t kernel, int64_t stride, int64_t padding)
      : first(first), pixels((extent - first + stride - 1) / stride) {
    const int64_t h0 = (first + padding) % stride, all = h0 < kernel ? (kernel - h0 + stride - 1) / stride : 0;
    const int64_t all_lead = all - 1 - (first + padding - h0) / stride;
    const Taps used(all, pixels, 1, all_lead, windows);
    taps = used.count();
    tap = taps > 0 ? h0 + stride * (all - 1 - used.begin) : 0;
    lead = all_lead - used.begin;
  }
};

}  // namespace
}  // namespace needle
