// Pooling of (N, H, W, C) images over kernel x kernel windows. Every number of a result belongs to one thread, which
// reads what it depends on in a fixed order: an output pixel reads its window, and a pixel of grad_x reads the windows
// that saw it, so neither needs atomics and halves are summed in float32. The loops run across channels.
#include <type_traits>

#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kChunk = 256;  // channels handled at once; what a chunk needs stays in L1

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Windows along one axis, of which number i covers the pixels i * stride - padding and on, as far as there are pixels.
struct Axis {
  int64_t extent, windows, kernel, stride, padding;

  Range pixels(int64_t i) const {
    const int64_t begin = i * stride - padding;
    return {larger(begin, 0), smaller(begin + kernel, extent)};
  }
  // The windows that cover a pixel.
  Range windows_over(int64_t pixel) const {
    const int64_t last = (pixel + padding) / stride, reach = pixel + padding - kernel;
    return {reach < 0 ? 0 : reach / stride + 1, smaller(last + 1, windows)};
  }
};

struct Geometry {
  Axis rows, columns;
  int64_t images, channels;

  Geometry(const char* op, NamedArray x, NamedArray out, int64_t kernel, int64_t stride, int64_t padding)
      : rows{x.array.shape[1], out.array.shape[1], kernel, stride, padding},
        columns{x.array.shape[2], out.array.shape[2], kernel, stride, padding},
        images(x.array.shape[0]), channels(x.array.shape[3]) {
    constexpr int64_t kMaxKernel = int64_t{1} << 31;
    check_floating(op, x);
    check_same_dtype(op, x, out);
    check_ndim(op, x, 4);
    check_ndim(op, out, 4);
    if (kernel < 1 || kernel > kMaxKernel || stride < 1)
      throw_shape_error("%s: kernel %ld and stride %ld, expected both to be 1 or more", op, kernel, stride);
    if (padding < 0 || padding > kernel / 2)
      throw_shape_error("%s: padding %ld, expected 0 to %ld (half of the kernel, so that every window meets a pixel)",
                        op, padding, kernel / 2);
    const int64_t height = rows.extent + 2 * padding, width = columns.extent + 2 * padding;
    if (rows.extent < 1 || columns.extent < 1 || height < kernel || width < kernel)
      throw_shape_error("%s: %s %s with padding %ld, expected images of one window of %ld x %ld or more", op, x.name,
                        ShapeText(x.array).text, padding, kernel, kernel);
    const int64_t out_height = (height - kernel) / stride + 1, out_width = (width - kernel) / stride + 1;
    if (!out.array.has_shape({images, out_height, out_width, channels}))
      throw_shape_error("%s: %s has shape %s, expected (%ld, %ld, %ld, %ld)", op, out.name, ShapeText(out.array).text,
                        images, out_height, out_width, channels);
  }
};

// `count` channels of one pixel, as numbers to compute with, side by side: where they lie, or converted into `buffer`.
template <class E>
const Compute<E>* read_channels(const E* from, int64_t stride, int64_t count, Compute<E>* buffer) {
  if constexpr (std::is_same_v<E, Compute<E>>) {
    if (stride == 1) return from;
  } else {
    if (stride == 1) return convert(count, from, buffer), buffer;
  }
  for (int64_t c = 0; c < count; ++c) buffer[c] = static_cast<Compute<E>>(from[c * stride]);
  return buffer;
}

// Where to compute `count` channels of a result: where they will lie or, if they are to be converted then, in `buffer`.
template <class E>
Compute<E>* result_channels(E* to, int64_t stride, Compute<E>* buffer) {
  if constexpr (std::is_same_v<E, Compute<E>>)
    if (stride == 1) return to;
  return buffer;
}

template <class E>
void write_channels(const Compute<E>* from, int64_t count, E* to, int64_t stride) {
  if constexpr (std::is_same_v<E, Compute<E>>) {
    if (from == to) return;
  } else {
    if (stride == 1) return convert(count, from, to);
  }
  for (int64_t c = 0; c < count; ++c) to[c * stride] = static_cast<E>(from[c]);
}

template <class E>
E* pixel(const Array& images, int64_t n, int64_t y, int64_t x, int64_t c) {
  const Dims& strides = images.strides;
  return images.data<E>() + n * strides[0] + y * strides[1] + x * strides[2] + c * strides[3];
}

// Calls body(n, y, x, c, count) for every pixel and chunk of channels of `images`. Each reads `reads` pixels.
template <class Body>
void for_each_pixel(const Array& images, int64_t reads, const Body& body) {
  const int64_t height = images.shape[1], width = images.shape[2], channels = images.shape[3];
  const int64_t rows = images.shape[0] * height;
  parallel_for(rows, parallel_parts(rows, images.size() * reads), [&](int, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t x = 0; x < width; ++x)
        for (int64_t c = 0; c < channels; c += kChunk)
          body(row / height, row % height, x, c, smaller(kChunk, channels - c));
  });
}

// The number of pixels that a window reads, or of windows that a pixel reads, for sharing out work.
int64_t window_size(const Geometry& geometry) {
  const Axis &rows = geometry.rows, &columns = geometry.columns;
  return smaller(rows.kernel, rows.extent) * smaller(columns.kernel, columns.extent);
}

}  // namespace

void max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry("max_pool2d", {"x", x}, {"out", out}, kernel, stride, padding);
  dispatch_floating("max_pool2d", x.dtype, [&](auto zero) {
    using E = decltype(zero);
    for_each_pixel(out, window_size(geometry), [&](int64_t n, int64_t i, int64_t j, int64_t c, int64_t count) {
      Compute<E> result_buffer[kChunk], buffer[kChunk];
      E* const to = pixel<E>(out, n, i, j, c);
      Compute<E>* const largest = result_channels(to, out.strides[3], result_buffer);
      const Range rows = geometry.rows.pixels(i), columns = geometry.columns.pixels(j);
      for (int64_t k = 0; k < count; ++k) largest[k] = -static_cast<Compute<E>>(__builtin_inf());
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          const Compute<E>* values = read_channels(pixel<E>(x, n, h, w, c), x.strides[3], count, buffer);
#pragma GCC ivdep
          for (int64_t k = 0; k < count; ++k)
            largest[k] = ((values[k] > largest[k]) | (values[k] != values[k])) ? values[k] : largest[k];
        }
      }
      write_channels(largest, count, to, out.strides[3]);
    });
  });
}

// First where each window's largest element lies, then for each pixel the sum over the windows whose largest it is.
void max_pool2d_backward(const Array& x, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding) {
  const Geometry geometry("max_pool2d_backward", {"x", x}, {"grad_out", grad_out}, kernel, stride, padding);
  check_same_dtype("max_pool2d_backward", {"x", x}, {"grad_x", grad_x});
  check_same_shape("max_pool2d_backward", {"x", x}, {"grad_x", grad_x});
  using Position = uint32_t;  // row * width + column
  if (x.shape[1] > int64_t{UINT32_MAX} / x.shape[2])
    throw_shape_error("max_pool2d_backward: x %s, expected images of less than 2^32 pixels", ShapeText(x).text);
  Buffer buffer(grad_out.size() * sizeof(Position));
  Position* const positions = reinterpret_cast<Position*>(buffer.data());  // shaped like grad_out
  const auto position_of = [&](int64_t n, int64_t i, int64_t j, int64_t c) {
    return positions + ((n * geometry.rows.windows + i) * geometry.columns.windows + j) * geometry.channels + c;
  };
  dispatch_floating("max_pool2d_backward", x.dtype, [&](auto zero) {
    using E = decltype(zero);
    for_each_pixel(grad_out, window_size(geometry), [&](int64_t n, int64_t i, int64_t j, int64_t c, int64_t count) {
      Compute<E> largest[kChunk], converted[kChunk];
      const Range rows = geometry.rows.pixels(i), columns = geometry.columns.pixels(j);
      Position* const best = position_of(n, i, j, c);
      for (int64_t k = 0; k < count; ++k) {
        largest[k] = -static_cast<Compute<E>>(__builtin_inf());
        best[k] = rows.begin * geometry.columns.extent + columns.begin;  // stays if all are -inf
      }
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          const Compute<E>* values = read_channels(pixel<E>(x, n, h, w, c), x.strides[3], count, converted);
          const Position here = h * geometry.columns.extent + w;
#pragma GCC ivdep
          for (int64_t k = 0; k < count; ++k) {
            const bool first_nan = (values[k] != values[k]) & (largest[k] == largest[k]);
            const bool replaces = (values[k] > largest[k]) | first_nan;
            largest[k] = replaces ? values[k] : largest[k];
            best[k] = replaces ? here : best[k];
          }
        }
      }
    });
    for_each_pixel(grad_x, window_size(geometry), [&](int64_t n, int64_t y, int64_t x, int64_t c, int64_t count) {
      Compute<E> result_buffer[kChunk], converted[kChunk];
      E* const to = pixel<E>(grad_x, n, y, x, c);
      Compute<E>* const sum = result_channels(to, grad_x.strides[3], result_buffer);
      for (int64_t k = 0; k < count; ++k) sum[k] = 0;
      const Position here = y * geometry.columns.extent + x;
      const Range rows = geometry.rows.windows_over(y), columns = geometry.columns.windows_over(x);
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          const Compute<E>* gradients =
              read_channels(pixel<E>(grad_out, n, i, j, c), grad_out.strides[3], count, converted);
          const Position* best = position_of(n, i, j, c);
#pragma GCC ivdep
          for (int64_t k = 0; k < count; ++k) sum[k] += best[k] == here ? gradients[k] : 0;
        }
      }
      write_channels(sum, count, to, grad_x.strides[3]);
    });
  });
}

namespace {

// `to`, each pixel of it: the sum of those pixels of `from` that `meets` gives for its row and its column, divided by the
// area of a window. Forward `from` is x and a window meets its pixels; backward it is grad_out and a pixel meets its windows.
void average(const char* op, const Geometry& geometry, const Array& from, const Array& to, int64_t kernel,
             Range (Axis::*meets)(int64_t) const) {
  dispatch_floating(op, to.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Compute<E> area = static_cast<Compute<E>>(kernel) * static_cast<Compute<E>>(kernel);
    for_each_pixel(to, window_size(geometry), [&](int64_t n, int64_t y, int64_t x, int64_t c, int64_t count) {
      Compute<E> result_buffer[kChunk], buffer[kChunk];
      E* const result = pixel<E>(to, n, y, x, c);
      Compute<E>* const sum = result_channels(result, to.strides[3], result_buffer);
      for (int64_t k = 0; k < count; ++k) sum[k] = 0;
      const Range rows = (geometry.rows.*meets)(y), columns = (geometry.columns.*meets)(x);
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          const Compute<E>* values = read_channels(pixel<E>(from, n, i, j, c), from.strides[3], count, buffer);
#pragma GCC ivdep
          for (int64_t k = 0; k < count; ++k) sum[k] += values[k];
        }
      }
      for (int64_t k = 0; k < count; ++k) sum[k] /= area;
      write_channels(sum, count, result, to.strides[3]);
    });
  });
}

}  // namespace

void avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry("avg_pool2d", {"x", x}, {"out", out}, kernel, stride, padding);
  average("avg_pool2d", geometry, x, out, kernel, &Axis::pixels);
}

void avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry("avg_pool2d_backward", {"grad_x", grad_x}, {"grad_out", grad_out}, kernel, stride, padding);
  average("avg_pool2d_backward", geometry, grad_out, grad_x, kernel, &Axis::windows_over);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
