// Two-dimensional convolution and its two gradients, each a product by gemm.h with a matrix that is never stored:
// "implicit GEMM" (Chetlur et al. 2014). With one window per row, the windows of all output pixels form a matrix
// (pixels, taps * C), where a tap is one of the K_h * K_w positions in a window:
//
//   forward           out (pixels, C_out)              = windows of x (pixels, taps * C_in) . weight (+ bias)
//   backward, data    grad_x (pixels, C_in)            = windows of grad_out (pixels, taps * C_out) . weight flipped
//   backward, weight  grad_weight (taps * C_in, C_out) = (windows of x)^T (taps * C_in, pixels) . grad_out
//
// The offset of a window's number (h, w, c) is that of the window's first pixel plus that of the tap. So both axes of
// the matrix are mixed-radix numbers, and the place of a number is the sum of its places on the two axes, as gemm.h
// requires. Padding counts as zeros of x. The weight gradient sums over many pixels to a small result, so gemm.h cuts
// the sum into slices.
//
// Compute-bound from about 32 channels on: expected to reach 80 to 90% of matmul's speed, because of the divisions by
// extents; half of that if the number of channels is not a multiple of 4, when they are read one by one.
#include "kernels/common/check.h"
#include "kernels/common/convolution.h"

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {
namespace {

constexpr int64_t kMostExtent = int64_t{1} << 30;

// An axis whose index i has three digits, the last one innermost: a window (n, i, j), or a number (h, w, c) in a
// window.
struct ImageAxis {
  // An offset and a pixel, which is inside the image or not.
  struct Place {
    int64_t offset;
    int y, x;
    __device__ Place operator+(const Place& other) const { return {offset + other.offset, y + other.y, x + other.x}; }
  };

  int count;
  Divisor extents[2];  // of the middle and last digits
  int64_t strides[3];
  int y[3] = {}, x[3] = {};  // how far each digit moves the pixel
  Place first = {};

  ImageAxis(int64_t outer, int64_t middle, int64_t inner, int64_t outer_stride, int64_t middle_stride,
            int64_t inner_stride)
      : count(static_cast<int>(outer * middle * inner)),
        extents{Divisor(static_cast<uint32_t>(std::max<int64_t>(middle, 1))),
                Divisor(static_cast<uint32_t>(std::max<int64_t>(inner, 1)))},
        strides{outer_stride, middle_stride, inner_stride} {}

  __device__ Place place(int i) const {
    const uint32_t rest = extents[1].divide(i), outer = extents[0].divide(rest);
    const int inner = i - rest * extents[1].extent, middle = rest - outer * extents[0].extent, n = outer;
    return {first.offset + n * strides[0] + middle * strides[1] + inner * strides[2],
            first.y + n * y[0] + middle * y[1] + inner * y[2], first.x + n * x[0] + middle * x[1] + inner * x[2]};
  }
};

struct ImageBounds {
  int height, width;
  __device__ bool contains(const ImageAxis::Place& at) const {
    return static_cast<unsigned>(at.y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(at.x) < static_cast<unsigned>(width);
  }
};

template <class E>
using ImageOperand = Operand<E, ImageAxis, ImageBounds>;

// Channels of a single pixel.
ImageAxis channels(int64_t count, int64_t stride) { return {1, 1, count, 0, 0, stride}; }

// The pixels of images, or every step-th of them.
ImageAxis pixels(const Array& images, int64_t height, int64_t width, int64_t step = 1) {
  const Dims& strides = images.strides;
  return {
      images.shape[0], height, width, strides[0], step_of(step, strides[1], height), step_of(step, strides[2], width)};
}

// The windows of `images`; window (i, j) begins at pixel (i * step - top, j * step - left).
ImageAxis windows(const Array& images, int64_t height, int64_t width, int64_t step, int64_t top, int64_t left) {
  ImageAxis axis = pixels(images, height, width, step);
  axis.y[1] = axis.x[2] = static_cast<int>(std::min(step, kMostExtent));
  axis.first = {-top * images.strides[1] - left * images.strides[2], static_cast<int>(-top), static_cast<int>(-left)};
  return axis;
}

// The numbers in a window of `images`.
ImageAxis taps(const Array& images, int64_t height, int64_t width) {
  const Dims& strides = images.strides;
  ImageAxis axis(height, width, images.shape[3], strides[1], strides[2], strides[3]);
  axis.y[0] = axis.x[1] = 1;
  return axis;
}

// Whether any four numbers along `inner` from a multiple of 4 on are contiguous and aligned.
bool packs(const ImageAxis& inner, const ImageAxis& outer, const void* data, int64_t size) {
  const int run = static_cast<int>(inner.extents[1].extent);
  const bool unbroken = run % 4 == 0 || run == inner.count;
  const int64_t steps = inner.strides[0] | inner.strides[1] | inner.first.offset | outer.strides[0] | outer.strides[1] |
                        outer.strides[2] | outer.first.offset;
  const bool one_pixel = inner.x[2] == 0;  // else only some of the four might be inside the image
  return inner.strides[2] == 1 && one_pixel && unbroken && steps % 4 == 0 &&
         reinterpret_cast<uintptr_t>(data) % (4 * size) == 0;
}

template <class E>
ImageOperand<E> operand(const E* data, const ImageAxis& line, const ImageAxis& depth, ImageBounds bounds = {1, 1}) {
  const bool along_line = line.strides[2] == 1 && depth.strides[2] != 1;
  return {data,   line,       depth,
          bounds, along_line, along_line ? packs(line, depth, data, sizeof(E)) : packs(depth, line, data, sizeof(E))};
}

ImageBounds bounds(const Array& images) {
  return {static_cast<int>(images.shape[1]), static_cast<int>(images.shape[2])};
}

// c = a b; the axes of c are the lines of a and of b.
template <class E>
void multiply(const ImageOperand<E>& a, const ImageOperand<E>& b, const Array& out, E* data, const ImageAxis& row,
              const ImageAxis& column, const Array* bias = nullptr) {
  if (row.count == 0 || column.count == 0) return;
  const Array* const arrays[] = {&out, &out, &out};
  gemm<Compute<E>>(1, Strides<3>(Plan(arrays, 3, 0)), a, b,
                   Result<E, ImageAxis>{data, row, column, packs(column, row, data, sizeof(E)),
                                        bias ? bias->data<E>() : nullptr, bias ? bias->strides[0] : 0, false});
}

// `image` is the operand or gradient with C_in channels, `out` the one with C_out. The extents of the products, and
// pixel positions, must fit in 31 bits.
void check_extents(const char* op, const Array& image, const Array& weight, const Array& out, int64_t padding) {
  const Dims &x = image.shape, &w = weight.shape, &y = out.shape;
  const int64_t products[] = {x[0] * x[1] * x[2], y[0] * y[1] * y[2], w[0] * w[1] * w[2],
                              w[0] * w[1] * w[3], x[1] + 2 * padding, x[2] + 2 * padding};
  for (int64_t count : products)
    if (count >= kMostExtent)
      throw_shape_error("%s: images %s and weight %s with padding %ld, expected less than 2^30 pixels on a GPU", op,
                        ShapeText(image).text, ShapeText(weight).text, padding);
}

// `bias` is added to the result unless it is null.
void convolve(const char* op, const Array& x, const Array& weight, const Array* bias, const Array& out, int64_t stride,
              int64_t padding) {
  check_extents(op, x, weight, out, padding);
  const Taps rows(weight.shape[0], out.shape[1], stride, padding, x.shape[1]);
  const Taps columns(weight.shape[1], out.shape[2], stride, padding, x.shape[2]);
  const Dims& w = weight.strides;
  const ImageAxis weight_taps(rows.count(), columns.count(), weight.shape[2], w[0], w[1], w[2]);
  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    multiply<E>(
        operand<E>(x.data<E>(),
                   windows(x, out.shape[1], out.shape[2], stride, padding - rows.begin, padding - columns.begin),
                   taps(x, rows.count(), columns.count()), bounds(x)),
        operand<E>(weight.data<E>() + rows.begin * w[0] + columns.begin * w[1], channels(weight.shape[3], w[3]),
                   weight_taps),
        out, out.data<E>(), pixels(out, out.shape[1], out.shape[2]), channels(out.shape[3], out.strides[3]), bias);
  });
}

}  // namespace

void conv2d(const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  convolve("conv2d", x, weight, nullptr, out, stride, padding);
}

void conv2d_bias(const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding) {
  convolve("conv2d_bias", x, weight, &bias, out, stride, padding);
}

// Computes the pixels of grad_x part by part, as described at BackwardPart.
void conv2d_backward_data(const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding) {
  const char* const op = "conv2d_backward_data";
  check_extents(op, grad_x, weight, grad_out, padding);
  const Dims& w = weight.strides;
  dispatch_floating(grad_out.dtype, [&](auto zero) {
    using E = decltype(zero);
    for (int64_t y = 0; y < std::min(stride, grad_x.shape[1]); ++y) {
      for (int64_t x = 0; x < std::min(stride, grad_x.shape[2]); ++x) {
        const BackwardPart rows(y, grad_x.shape[1], grad_out.shape[1], weight.shape[0], stride, padding);
        const BackwardPart columns(x, grad_x.shape[2], grad_out.shape[2], weight.shape[1], stride, padding);
        multiply<E>(
            operand<E>(grad_out.data<E>(), windows(grad_out, rows.pixels, columns.pixels, 1, rows.lead, columns.lead),
                       taps(grad_out, rows.taps, columns.taps), bounds(grad_out)),
            operand<E>(weight.data<E>() + rows.tap * w[0] + columns.tap * w[1], channels(weight.shape[2], w[2]),
                       ImageAxis(rows.taps, columns.taps, weight.shape[3], -step_of(stride, w[0], rows.taps),
                                 -step_of(stride, w[1], columns.taps), w[3])),
            grad_x, grad_x.data<E>() + y * grad_x.strides[1] + x * grad_x.strides[2],
            pixels(grad_x, rows.pixels, columns.pixels, stride), channels(grad_x.shape[3], grad_x.strides[3]));
      }
    }
  });
}

// Taps that never fall on a pixel get a zero gradient.
void conv2d_backward_weight(const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride,
                            int64_t padding) {
  const char* const op = "conv2d_backward_weight";
  check_extents(op, x, grad_weight, grad_out, padding);
  const int64_t height = grad_out.shape[1], width = grad_out.shape[2];
  const Taps rows(grad_weight.shape[0], height, stride, padding, x.shape[1]);
  const Taps columns(grad_weight.shape[1], width, stride, padding, x.shape[2]);
  if (rows.count() < grad_weight.shape[0] || columns.count() < grad_weight.shape[1])
    copy(Array::scalar(0.0, grad_weight.dtype), grad_weight);
  const Dims& w = grad_weight.strides;
  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    multiply<E>(operand<E>(x.data<E>(), taps(x, rows.count(), columns.count()),
                           windows(x, height, width, stride, padding - rows.begin, padding - columns.begin), bounds(x)),
                operand<E>(grad_out.data<E>(), channels(grad_out.shape[3], grad_out.strides[3]),
                           pixels(grad_out, height, width)),
                grad_weight, grad_weight.data<E>() + rows.begin * w[0] + columns.begin * w[1],
                ImageAxis(rows.count(), columns.count(), x.shape[3], w[0], w[1], w[2]),
                channels(grad_weight.shape[3], w[3]));
  });
}

}  // namespace needle::cuda
