// Two-dimensional convolution and its two gradients, each a product by gemm.h with a matrix that is never stored.
//
// A window is the kernel_height x kernel_width x C piece of the (zero-padded) image that one output pixel sees. With
// one window per row, the windows of all output pixels form a matrix, "im2col" (Chellapilla, Puri and Simard, 2006),
//
//   forward           out (pixels, C_out)                 = windows of x (pixels, taps * C_in) . weight (+ bias)
//   backward, data    grad_x (pixels, C_in)               = windows of grad_out (pixels, taps * C_out) . weight flipped
//   backward, weight  grad_weight^T (C_out, taps * C_in)  = grad_out^T (C_out, pixels) . windows of x
//
// where a tap is one of the kernel_height * kernel_width positions in a window. The matrix would be about that many
// times as large as the image. Instead, packing reads the image (Windows::copy_block), so that only the blocks being
// multiplied exist, in cache.
//
// Padding counts as zeros of x: an infinite or NaN weight times such a zero is NaN, as if x had been padded. Only
// kernel rows and columns that fall entirely on padding are left out (all but the centre of 3 x 3 on a single pixel).
#include "kernels/common/convolution.h"
#include "kernels/common/dispatch.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/rows.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The windows of (N, H, W, C) images as a matrix: one row per window, in the order (n, i, j), and one column per number
// in a window, in the order (h, w, c). Window (i, j) begins at pixel (i * stride - top, j * stride - left).
template <class E>
struct Windows {
  const E* data;
  Dims strides;
  int64_t height, width, channels;  // of an image
  int64_t rows_per_image, columns_per_image;
  int64_t kernel_height, kernel_width;
  int64_t stride, top, left;
  int64_t first = 0;  // the window that is row 0 of the matrix

  Windows(const Array& images, int64_t rows_per_image, int64_t columns_per_image, int64_t kernel_height,
          int64_t kernel_width, int64_t stride, int64_t top, int64_t left)
      : data(images.data<E>()),
        strides(images.strides),
        height(images.shape[1]),
        width(images.shape[2]),
        channels(images.shape[3]),
        rows_per_image(rows_per_image),
        columns_per_image(columns_per_image),
        kernel_height(kernel_height),
        kernel_width(kernel_width),
        stride(stride),
        top(top),
        left(left) {}

  // Copies run by run of columns. A run is a range of numbers that is contiguous both in a window and in memory: a
  // whole row of the kernel if the images' pixels are packed, else one pixel.
  template <class T>
  void copy_block(T* block, int64_t block_stride, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    const int64_t run_pixels = strides[3] == 1 && strides[2] == channels ? kernel_width : 1;
    const int64_t run = run_pixels * channels;
    for (int64_t count; columns > 0; block += count, column += count, columns -= count) {
      const int64_t pixel = column / run * run_pixels, offset = column % run;
      count = smaller(columns, run - offset);
      copy_run(block, block_stride, row, rows, pixel / kernel_width, pixel % kernel_width, run_pixels, offset, count);
    }
  }

 private:
  // For `rows` windows, copies `count` numbers from `offset` on in the run that begins at pixel (h, w) of the window.
  template <class T>
  void copy_run(T* block, int64_t block_stride, int64_t row, int64_t rows, int64_t h, int64_t w, int64_t run_pixels,
                int64_t offset, int64_t count) const {
    const int64_t window = first + row;
    int64_t j = window % columns_per_image, i = window / columns_per_image % rows_per_image;
    int64_t n = window / columns_per_image / rows_per_image;
    for (int64_t r = 0; r < rows; ++r, block += block_stride) {
      const int64_t y = i * stride - top + h, x = j * stride - left + w;
      int64_t begin = 0, end = count;  // the numbers inside the image
      if (y < 0 || y >= height || x + run_pixels <= 0 || x >= width) {
        begin = end;
      } else if (x < 0 || x + run_pixels > width) {
        begin = smaller(larger(-x * channels - offset, 0), count);
        end = larger(smaller((width - x) * channels - offset, count), begin);
      }
      for (int64_t c = 0; c < begin; ++c) block[c] = 0;
      if (begin < end) {
        const E* source = data + n * strides[0] + y * strides[1] + x * strides[2] + offset * strides[3];
        if (strides[3] == 1)
          copy_row(source + begin, block + begin, end - begin);
        else
          for (int64_t c = begin; c < end; ++c) block[c] = static_cast<T>(source[c * strides[3]]);
      }
      for (int64_t c = end; c < count; ++c) block[c] = 0;
      if (++j == columns_per_image) {
        j = 0;
        if (++i == rows_per_image) i = 0, ++n;
      }
    }
  }
};

// Weights as a matrix with one row per (tap row, tap column, inner channel) and one column per outer channel.
template <class E>
struct Weights {
  const E* data;
  int64_t tap_row_stride, tap_column_stride, inner_stride, outer_stride;
  int64_t kernel_width, inner_channels;

  template <class T>
  void copy_block(T* block, int64_t block_stride, int64_t row, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t count; rows > 0; row += count, rows -= count, block += count * block_stride) {
      const int64_t tap = row / inner_channels, channel = row % inner_channels;
      count = smaller(rows, inner_channels - channel);
      const E* source = data + tap / kernel_width * tap_row_stride + tap % kernel_width * tap_column_stride;
      StridedMatrix<E>{source, inner_stride, outer_stride}.copy_block(block, block_stride, channel, count, column,
                                                                      columns);
    }
  }
};

// The pixels of (N, H, W, C) images as the rows of a result.
template <class E>
struct PixelResult {
  using Element = E;
  E* data;
  int64_t column_stride;
  int64_t image_stride, row_stride, pixel_stride, height, width;

  void row_offsets(int64_t row, int64_t rows, int64_t* offsets) const {
    int64_t j = row % width, i = row / width % height, n = row / width / height;
    for (int64_t r = 0; r < rows; ++r) {
      offsets[r] = n * image_stride + i * row_stride + j * pixel_stride;
      if (++j == width) {
        j = 0;
        if (++i == height) i = 0, ++n;
      }
    }
  }
};

// `bias` is added to the result unless it is null.
void convolve(const Array& x, const Array& weight, const Array* bias, const Array& out, int64_t stride,
              int64_t padding) {
  const Taps rows(weight.shape[0], out.shape[1], stride, padding, x.shape[1]);
  const Taps columns(weight.shape[1], out.shape[2], stride, padding, x.shape[2]);
  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Scratch<Compute<E>> biases(bias ? weight.shape[3] : 0);
    if (bias) read_vector(*bias, biases.data());
    const Windows<E> windows(x, out.shape[1], out.shape[2], rows.count(), columns.count(), stride, padding - rows.begin,
                             padding - columns.begin);
    const Weights<E> weights{weight.data<E>() + rows.begin * weight.strides[0] + columns.begin * weight.strides[1],
                             weight.strides[0],
                             weight.strides[1],
                             weight.strides[2],
                             weight.strides[3],
                             columns.count(),
                             weight.shape[2]};
    const PixelResult<E> result{out.data<E>(),  out.strides[3], out.strides[0], out.strides[1],
                                out.strides[2], out.shape[1],   out.shape[2]};
    gemm<Compute<E>>(
        1, out.shape[0] * out.shape[1] * out.shape[2], out.shape[3], rows.count() * columns.count() * x.shape[3],
        [&](int64_t) { return windows; }, [&](int64_t) { return weights; }, [&](int64_t) { return result; },
        bias ? biases.data() : nullptr);
  });
}

}  // namespace

void conv2d(const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  convolve(x, weight, nullptr, out, stride, padding);
}

void conv2d_bias(const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding) {
  convolve(x, weight, &bias, out, stride, padding);
}

// Computes the pixels of grad_x part by part, as described at BackwardPart.
void conv2d_backward_data(const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding) {
  dispatch_floating(grad_out.dtype, [&](auto zero) {
    using E = decltype(zero);
    for (int64_t y = 0; y < smaller(stride, grad_x.shape[1]); ++y) {
      for (int64_t x = 0; x < smaller(stride, grad_x.shape[2]); ++x) {
        const BackwardPart rows(y, grad_x.shape[1], grad_out.shape[1], weight.shape[0], stride, padding);
        const BackwardPart columns(x, grad_x.shape[2], grad_out.shape[2], weight.shape[1], stride, padding);
        const Windows<E> windows(grad_out, rows.pixels, columns.pixels, rows.taps, columns.taps, 1, rows.lead,
                                 columns.lead);
        const Weights<E> weights{weight.data<E>() + rows.tap * weight.strides[0] + columns.tap * weight.strides[1],
                                 -step_of(stride, weight.strides[0], rows.taps),
                                 -step_of(stride, weight.strides[1], columns.taps),
                                 weight.strides[3],
                                 weight.strides[2],
                                 columns.taps,
                                 weight.shape[3]};
        const PixelResult<E> result{grad_x.data<E>() + y * grad_x.strides[1] + x * grad_x.strides[2],
                                    grad_x.strides[3],
                                    grad_x.strides[0],
                                    step_of(stride, grad_x.strides[1], rows.pixels),
                                    step_of(stride, grad_x.strides[2], columns.pixels),
                                    rows.pixels,
                                    columns.pixels};
        gemm<Compute<E>>(
            1, grad_x.shape[0] * rows.pixels * columns.pixels, grad_x.shape[3],
            rows.taps * columns.taps * grad_out.shape[3], [&](int64_t) { return windows; },
            [&](int64_t) { return weights; }, [&](int64_t) { return result; });
      }
    }
  });
}

// The result is small but sums over all pixels. So the pixels are cut into slices, by a rule that depends only on the
// shapes. Each slice yields a partial gradient (together a batch of products), and these are added in order.
void conv2d_backward_weight(const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride,
                            int64_t padding) {
  constexpr int64_t kMinSlice = 2048, kMaxSlices = 32;
  const Taps rows(grad_weight.shape[0], grad_out.shape[1], stride, padding, x.shape[1]);
  const Taps columns(grad_weight.shape[1], grad_out.shape[2], stride, padding, x.shape[2]);
  const int64_t in_channels = x.shape[3], out_channels = grad_out.shape[3];
  const int64_t pixels = grad_out.shape[0] * grad_out.shape[1] * grad_out.shape[2];
  const int64_t features = rows.count() * columns.count() * in_channels;
  const int64_t slice = larger(smaller(pixels, kMinSlice), ceil_div(pixels, kMaxSlices));
  const int64_t slices = pixels ? ceil_div(pixels, slice) : 0, full_slices = pixels ? pixels / slice : 0;

  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    using Sum = Compute<E>;
    Buffer buffer(saturated_product(slices, features, out_channels, sizeof(Sum)));
    Sum* const partial = reinterpret_cast<Sum*>(buffer.data());  // (slices, C_out, features)

    const auto gradients = [&](int64_t index) {
      Windows<E> window(grad_out, grad_out.shape[1], grad_out.shape[2], 1, 1, 1, 0, 0);
      window.first = index * slice;
      return Transposed<Windows<E>>{window};
    };
    const auto windows = [&](int64_t index) {
      Windows<E> window(x, grad_out.shape[1], grad_out.shape[2], rows.count(), columns.count(), stride,
                        padding - rows.begin, padding - columns.begin);
      window.first = index * slice;
      return window;
    };
    const auto result = [&](int64_t index) {
      return StridedResult<Sum>{partial + index * out_channels * features, features, 1};
    };
    gemm<Sum>(full_slices, out_channels, features, slice, gradients, windows, result);
    if (full_slices < slices)
      gemm<Sum>(
          1, out_channels, features, pixels - full_slices * slice, [&](int64_t) { return gradients(full_slices); },
          [&](int64_t) { return windows(full_slices); }, [&](int64_t) { return result(full_slices); });

    const int64_t size = out_channels * features;
    parallel_for(size, parallel_parts(size, slices * size), [&](int, int64_t begin, int64_t end) {
      for (int64_t s = 1; s < slices; ++s)
        for (int64_t i = begin; i < end; ++i) partial[i] += partial[s * size + i];
    });

    const int64_t all_features = grad_weight.shape[0] * grad_weight.shape[1] * in_channels;
    parallel_for(all_features, parallel_parts(all_features, grad_weight.size()), [&](int, int64_t begin, int64_t end) {
      for (int64_t feature = begin; feature < end; ++feature) {
        const int64_t c = feature % in_channels, w = feature / in_channels % grad_weight.shape[1];
        const int64_t h = feature / in_channels / grad_weight.shape[1];
        const bool used = slices > 0 && h >= rows.begin && h < rows.end && w >= columns.begin && w < columns.end;
        const Sum* from = partial + ((h - rows.begin) * columns.count() + w - columns.begin) * in_channels + c;
        const Dims& strides = grad_weight.strides;
        E* to = grad_weight.data<E>() + h * strides[0] + w * strides[1] + c * strides[2];
        for (int64_t f = 0; f < out_channels; ++f) to[f * strides[3]] = used ? static_cast<E>(from[f * features]) : E{};
      }
    });
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
