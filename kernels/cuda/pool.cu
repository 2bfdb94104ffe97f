// Pooling of (N, H, W, C) images over kernel x kernel windows. A thread computes one number of the result and reads its
// inputs in a fixed order: an output pixel reads its window, a pixel of grad_x the windows that cover it. Neighbouring
// threads have neighbouring channels, so that a warp reads whole cache lines.
//
// Bound: memory, reading every image once; overlapping windows are read again from the caches. The backward pass of max
// pooling searches each window for its largest element again instead of storing its position: 4 numbers for 2 x 2
// windows that do not overlap.
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/common/pooling.h"
#include "kernels/cuda/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {
namespace {

template <class T>
struct Images {
  T* data;
  int64_t n, y, x, c;  // strides

  explicit Images(const Array& a)
      : data(a.data<T>()), n(a.strides[0]), y(a.strides[1]), x(a.strides[2]), c(a.strides[3]) {}
  __device__ T& at(int64_t image, int64_t row, int64_t column, int64_t channel) const {
    return data[image * n + row * y + column * x + channel * c];
  }
};

struct Span {
  int begin, end;
};

// A PoolingAxis for kernels: in 32 bits and with a Divisor, because a 64-bit division takes some 25 instructions.
struct Axis {
  int extent, windows, kernel, padding;
  Divisor stride;

  explicit Axis(const PoolingAxis& axis)
      : extent(static_cast<int>(axis.extent)),
        windows(static_cast<int>(axis.windows)),
        kernel(static_cast<int>(axis.kernel)),
        padding(static_cast<int>(axis.padding)),
        stride(static_cast<uint32_t>(std::min(axis.stride, kMostPositions))) {
    if (axis.extent + 2 * axis.padding > kMostPositions)
      throw_shape_error("pooling: %ld pixels with padding %ld on either side, expected less than 2^31 on a GPU",
                        axis.extent, axis.padding);
  }

  __device__ Span pixels(int i) const {
    const int begin = i * static_cast<int>(stride.extent) - padding;
    return {begin > 0 ? begin : 0, begin + kernel < extent ? begin + kernel : extent};
  }
  // The windows that cover a pixel.
  __device__ Span windows_over(int pixel) const {
    const int last = stride.divide(pixel + padding), reach = pixel + padding - kernel;
    return {reach < 0 ? 0 : static_cast<int>(stride.divide(reach)) + 1, last + 1 < windows ? last + 1 : windows};
  }
};

// Calls body(n, y, x, c) for each number of some images, one thread per number.
struct Places {
  uint32_t size;
  int64_t first_image;
  Divisor channels, width, height;

  template <class Body>
  __device__ void for_each(const Body& body) const {
    const uint32_t stride = gridDim.x * blockDim.x;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
      const uint32_t pixel = channels.divide(i), row = width.divide(pixel), image = height.divide(row);
      body(first_image + image, static_cast<int>(row - image * height.extent),
           static_cast<int>(pixel - row * width.extent), static_cast<int>(i - pixel * channels.extent));
    }
  }
};

// Calls start(places, blocks) for all numbers of `images`, at most kMostPositions at a time.
template <class Launch>
void for_each_place(const Array& images, const Launch& start) {
  const int64_t height = images.shape[1], width = images.shape[2], channels = images.shape[3];
  const int64_t each = height * width * channels;
  if (each == 0) return;
  if (each > kMostPositions)
    throw_shape_error("pooling: %s, expected images of less than 2^31 numbers", ShapeText(images).text);
  for (int64_t n = 0; n < images.shape[0];) {
    const int64_t count = std::min(images.shape[0] - n, kMostPositions / each);
    const auto size = static_cast<uint32_t>(count * each);
    start(Places{size, n, Divisor(channels), Divisor(width), Divisor(height)}, blocks_for(size, kThreads));
    n += count;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    max_kernel(Places places, Axis rows, Axis columns, Images<const T> x, Images<T> out) {
  places.for_each([&](int64_t n, int i, int j, int c) {
    using Value = Compute<T>;
    const Span ys = rows.pixels(i), xs = columns.pixels(j);
    Value largest = -static_cast<Value>(INFINITY);
    for (int row = ys.begin; row < ys.end; ++row)
      for (int column = xs.begin; column < xs.end; ++column) {
        const Value value = static_cast<Value>(x.at(n, row, column, c));
        if ((value > largest) | (value != value)) largest = value;
      }
    out.at(n, i, j, c) = static_cast<T>(largest);
  });
}

// Whether x at (row, column) is the first largest number, or the first NaN, of a window.
template <class T>
__device__ bool is_largest(const Images<const T>& x, int64_t n, int row, int column, int c, Span ys, Span xs) {
  using Value = Compute<T>;
  const Value mine = static_cast<Value>(x.at(n, row, column, c));
  bool earlier = true;
  for (int i = ys.begin; i < ys.end; ++i)
    for (int j = xs.begin; j < xs.end; ++j) {
      if (i == row && j == column) {
        earlier = false;
        continue;
      }
      const Value other = static_cast<Value>(x.at(n, i, j, c));
      const bool beaten = mine != mine ? earlier & (other != other) : earlier ? !(other < mine) : !(other <= mine);
      if (beaten) return false;
    }
  return true;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    max_backward_kernel(Places places, Axis rows, Axis columns, Images<const T> x, Images<const T> grad_out,
                        Images<T> grad_x) {
  places.for_each([&](int64_t n, int row, int column, int c) {
    const Span is = rows.windows_over(row), js = columns.windows_over(column);
    Compute<T> sum = 0;
    for (int i = is.begin; i < is.end; ++i)
      for (int j = js.begin; j < js.end; ++j)
        if (is_largest(x, n, row, column, c, rows.pixels(i), columns.pixels(j)))
          sum += static_cast<Compute<T>>(grad_out.at(n, i, j, c));
    grad_x.at(n, row, column, c) = static_cast<T>(sum);
  });
}

// The sum over the pixels of a window (backward: over the windows that cover a pixel), divided by the window's area.
template <class T, bool backward>
__global__ void __launch_bounds__(kThreads)
    average_kernel(Places places, Axis rows, Axis columns, Compute<T> area, Images<const T> from, Images<T> to) {
  places.for_each([&](int64_t n, int y, int x, int c) {
    const Span ys = backward ? rows.windows_over(y) : rows.pixels(y);
    const Span xs = backward ? columns.windows_over(x) : columns.pixels(x);
    Compute<T> sum = 0;
    for (int i = ys.begin; i < ys.end; ++i)
      for (int j = xs.begin; j < xs.end; ++j) sum += static_cast<Compute<T>>(from.at(n, i, j, c));
    to.at(n, y, x, c) = static_cast<T>(sum / area);
  });
}

template <bool backward>
void average(const PoolingGeometry& geometry, const Array& from, const Array& to) {
  dispatch_floating(to.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto kernel = static_cast<Compute<T>>(geometry.rows.kernel);
    for_each_place(to, [&](const Places& places, unsigned blocks) {
      launch(average_kernel<T, backward>, blocks, kThreads, places, Axis(geometry.rows), Axis(geometry.columns),
             kernel * kernel, Images<const T>(from), Images<T>(to));
    });
  });
}

}  // namespace

void max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const PoolingGeometry geometry(x, out, kernel, stride, padding);
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_place(out, [&](const Places& places, unsigned blocks) {
      launch(max_kernel<T>, blocks, kThreads, places, Axis(geometry.rows), Axis(geometry.columns), Images<const T>(x),
             Images<T>(out));
    });
  });
}

void max_pool2d_backward(const Array& x, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding) {
  const PoolingGeometry geometry(x, grad_out, kernel, stride, padding);
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_place(grad_x, [&](const Places& places, unsigned blocks) {
      launch(max_backward_kernel<T>, blocks, kThreads, places, Axis(geometry.rows), Axis(geometry.columns),
             Images<const T>(x), Images<const T>(grad_out), Images<T>(grad_x));
    });
  });
}

void avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const PoolingGeometry geometry(x, out, kernel, stride, padding);
  average<false>(geometry, x, out);
}

void avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding) {
  const PoolingGeometry geometry(grad_x, grad_out, kernel, stride, padding);
  average<true>(geometry, grad_out, grad_x);
}

}  // namespace needle::cuda
