// Pooling of (N, H, W, C) images over kernel x kernel windows. One thread computes each result element, reading its
// inputs in a fixed order: an output pixel reads its window, and a pixel of grad_x reads the windows that cover it. So
// neither needs atomics, and half types are summed in float32. A cache line of channels is processed at once, and their
// results stay in registers until they are complete.
#include <cstring>
#include <type_traits>

#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/common/parallel.h"
#include "kernels/common/pooling.h"
#include "kernels/common/sizes.h"
#include "kernels/cpu/fold.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

using Axis = PoolingAxis;
using Geometry = PoolingGeometry;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <class E>
E* pixel(const Array& images, int64_t n, int64_t y, int64_t x, int64_t c) {
  const Dims& strides = images.strides;
  return images.data<E>() + n * strides[0] + y * strides[1] + x * strides[2] + c * strides[3];
}

// The channels processed at once: a cache line of numbers, in one or more registers.
template <class T>
struct Channels {
  static constexpr int kVectors = 64 / kVectorBytes;
  static constexpr int64_t kCount = 64 / sizeof(T);
  Vector<T> vectors[kVectors];

  static Channels all(T value) {
    Channels channels;
    for (Vector<T>& vector : channels.vectors) vector = Vector<T>{} + value;
    return channels;
  }
};

// Loads `count` channels of one pixel in the compute type.
template <class E>
Channels<Compute<E>> load_channels(const E* from, int64_t stride, int64_t count) {
  using T = Compute<E>;
  T buffer[Channels<T>::kCount] = {};
  const T* values = buffer;
  if (stride != 1 || count < Channels<T>::kCount) {
    for (int64_t k = 0; k < count; ++k) buffer[k] = static_cast<T>(from[k * stride]);
  } else {
    if constexpr (std::is_same_v<E, T>)
      values = from;
    else
      convert(Channels<T>::kCount, from, buffer);
  }
  Channels<T> channels;  // filled one register at a time, because gcc would copy the whole through memory in pieces
  for (int v = 0; v < channels.kVectors; ++v)
    std::memcpy(&channels.vectors[v], values + v * kLanes<T>, sizeof channels.vectors[v]);
  return channels;
}

template <class E>
void store_channels(const Channels<Compute<E>>& channels, int64_t count, E* to, int64_t stride) {
  using T = Compute<E>;
  const bool direct = stride == 1 && count == channels.kCount;
  T buffer[Channels<T>::kCount], *values = buffer;
  if constexpr (std::is_same_v<E, T>)
    if (direct) values = to;
  for (int v = 0; v < channels.kVectors; ++v)
    std::memcpy(values + v * kLanes<T>, &channels.vectors[v], sizeof channels.vectors[v]);
  if constexpr (!std::is_same_v<E, T>)
    if (direct) return convert(channels.kCount, buffer, to);
  if (!direct)
    for (int64_t k = 0; k < count; ++k) to[k * stride] = static_cast<E>(buffer[k]);
}

// How many pixels ahead to prefetch: windows jump between rows, which the hardware prefetcher does not predict.
constexpr int64_t kAhead = 8;

// A range of rows and columns of one image.
struct Window {
  Range rows, columns;
};

// Calls body(values, i, j) for `count` channels, from c on, of each pixel of the window in image n.
template <class E, class Body>
void for_each_in_window(const Array& images, int64_t n, const Window& window, int64_t c, int64_t count,
                        const Body& body) {
  const int64_t row_stride = images.strides[1], column_stride = images.strides[2], stride = images.strides[3];
  const E* row = pixel<E>(images, n, window.rows.begin, window.columns.begin, c);
  for (int64_t i = window.rows.begin; i < window.rows.end; ++i, row += row_stride) {
    const E* values = row;
    for (int64_t j = window.columns.begin; j < window.columns.end; ++j, values += column_stride) {
      __builtin_prefetch(values + kAhead * column_stride);
      body(load_channels(values, stride, count), i, j);
    }
  }
}

// Calls body(c, count) for each group of channels that is processed at once.
template <class E, class Body>
void for_each_channels(int64_t channels, const Body& body) {
  constexpr int64_t most = Channels<Compute<E>>::kCount;
  for (int64_t c = 0; c < channels; c += most) body(c, smaller(most, channels - c));
}

// The number of pixels that a window reads, or of windows that a pixel reads; used to divide the work.
int64_t window_size(const Geometry& geometry) {
  const Axis &rows = geometry.rows, &columns = geometry.columns;
  return smaller(rows.kernel, rows.extent) * smaller(columns.kernel, columns.extent);
}

// Computes each element of `to` as a fold: it starts with `begin`, calls step(fold, value) for the pixels of `from`
// that `meets` returns for the element's row and column, and ends with finish(fold). step and finish take vectors. In
// the forward pass `from` is x and `meets` returns a window's pixels; in the backward pass `from` is grad_out and
// `meets` returns the windows that cover a pixel.
template <class E, class Step, class Finish>
void fold_windows(const Geometry& geometry, const Array& from, const Array& to, Range (Axis::*meets)(int64_t) const,
                  Compute<E> begin, const Step& step, const Finish& finish) {
  const int64_t height = to.shape[1], rows = to.shape[0] * height;
  const int64_t work = saturated_product(to.size(), window_size(geometry));
  parallel_for(rows, parallel_parts(rows, work), [&](int, int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t n = row / height, y = row % height;
      Window window{(geometry.rows.*meets)(y), {}};
      for (int64_t x = 0; x < to.shape[2]; ++x) {
        window.columns = (geometry.columns.*meets)(x);
        for_each_channels<E>(geometry.channels, [&](int64_t c, int64_t count) {
          auto folded = Channels<Compute<E>>::all(begin);
          for_each_in_window<E>(from, n, window, c, count, [&](const auto& values, int64_t, int64_t) {
            for (int v = 0; v < folded.kVectors; ++v) step(folded.vectors[v], values.vectors[v]);
          });
          for (auto& vector : folded.vectors) finish(vector);
          store_channels(folded, count, pixel<E>(to, n, y, x, c), to.strides[3]);
        });
      }
    }
  });
}

}  // namespace

void max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry(x, out, kernel, stride, padding);
  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    using Largest = Max<Compute<E>>;
    fold_windows<E>(
        geometry, x, out, &Axis::pixels, Largest::identity(),
        [](auto& largest, const auto& values) { Largest::step(largest, values); }, [](auto&) {});
  });
}

namespace {

// A pixel's position in its image, row * width + column, in as many bits as T has.
template <class T>
using Position = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// The position of the largest element, per channel, of each window in window row i of image n.
template <class E>
void find_largest(const Geometry& geometry, const Array& x, int64_t n, int64_t i,
                  Channels<Position<Compute<E>>>* positions) {
  using T = Compute<E>;
  Window window{geometry.rows.pixels(i), {}};
  const int64_t width = geometry.columns.extent;
  for (int64_t j = 0; j < geometry.columns.windows; ++j) {
    window.columns = geometry.columns.pixels(j);
    const Position<T> first = window.rows.begin * width + window.columns.begin;  // stays if all are -inf
    for_each_channels<E>(geometry.channels, [&](int64_t c, int64_t count) {
      auto largest = Channels<T>::all(Max<T>::identity());
      auto place = Channels<Position<T>>::all(first);
      for_each_in_window<E>(x, n, window, c, count, [&](const Channels<T>& pixel, int64_t h, int64_t w) {
        const Vector<Position<T>> here = Vector<Position<T>>{} + static_cast<Position<T>>(h * width + w);
        for (int v = 0; v < pixel.kVectors; ++v) {
          const Vector<T>&value = pixel.vectors[v], &before = largest.vectors[v];
          const auto replaces = ~(value <= before) & (before == before);  // larger, or the first NaN
          place.vectors[v] = replaces ? here : place.vectors[v];
          largest.vectors[v] = replaces ? value : before;
        }
      });
      *positions++ = place;
    });
  }
}

}  // namespace

// A pixel's gradient is the sum of the gradients of the windows whose largest element it is. A thread goes down its
// rows of pixels and keeps the positions for the window rows that can cover one row of pixels; window row i is at i %
// kept.
void max_pool2d_backward(const Array& x, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding) {
  const Geometry geometry(x, grad_out, kernel, stride, padding);
  const int64_t height = x.shape[1], width = x.shape[2], channels = geometry.channels, pixel_rows = x.shape[0] * height;
  if (height > int64_t{UINT32_MAX} / width)
    throw_shape_error("max_pool2d_backward: x %s, expected images of less than 2^32 pixels", ShapeText(x).text);
  const int parts = parallel_parts(pixel_rows, saturated_product(x.size(), window_size(geometry)));
  int64_t kept = 1;  // a power of two, so that i % kept is cheap
  while (kept < smaller((kernel - 1) / stride + 1, geometry.rows.windows)) kept *= 2;
  dispatch_floating(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    using T = Compute<E>;
    using Positions = Channels<Position<T>>;
    constexpr int64_t at_once = Channels<T>::kCount;
    const int64_t groups = (channels + at_once - 1) / at_once, row_size = geometry.columns.windows * groups;
    const Buffer buffer(saturated_product(parts, kept, row_size, sizeof(Positions)));
    parallel_for(pixel_rows, parts, [&](int part, int64_t begin, int64_t end) {
      Positions* const positions = reinterpret_cast<Positions*>(buffer.data()) + part * kept * row_size;
      int64_t found = 0;  // rows of windows of this image whose positions have been found or are not needed
      for (int64_t row = begin; row < end; ++row) {
        const int64_t n = row / height, y = row % height;
        if (y == 0) found = 0;
        Window windows{geometry.rows.windows_over(y), {}};
        for (found = larger(found, windows.rows.begin); found < windows.rows.end; ++found)
          find_largest<E>(geometry, x, n, found, positions + (found & (kept - 1)) * row_size);
        for (int64_t column = 0; column < width; ++column) {
          windows.columns = geometry.columns.windows_over(column);
          const Position<T> here = y * width + column;
          for_each_channels<E>(channels, [&](int64_t c, int64_t count) {
            Channels<T> sum = {};
            for_each_in_window<E>(grad_out, n, windows, c, count, [&](const Channels<T>& grads, int64_t i, int64_t j) {
              const Positions& place = positions[(i & (kept - 1)) * row_size + j * groups + c / at_once];
              for (int v = 0; v < sum.kVectors; ++v)
                sum.vectors[v] += place.vectors[v] == here ? grads.vectors[v] : Vector<T>{};
            });
            store_channels(sum, count, pixel<E>(grad_x, n, y, column, c), grad_x.strides[3]);
          });
        }
      }
    });
  });
}

namespace {

// Sums the pixels that `meets` returns and divides by the area of a window.
void average(const Geometry& geometry, const Array& from, const Array& to, int64_t kernel,
             Range (Axis::*meets)(int64_t) const) {
  dispatch_floating(to.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Compute<E> area = static_cast<Compute<E>>(kernel) * static_cast<Compute<E>>(kernel);
    fold_windows<E>(
        geometry, from, to, meets, 0, [](auto& sum, const auto& values) { sum += values; },
        [area](auto& sum) { sum /= area; });
  });
}

}  // namespace

void avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry(x, out, kernel, stride, padding);
  average(geometry, x, out, kernel, &Axis::pixels);
}

void avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding) {
  const Geometry geometry(grad_x, grad_out, kernel, stride, padding);
  average(geometry, grad_out, grad_x, kernel, &Axis::windows_over);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
