// Crops windows from selected images of a data set of bytes into a batch, mapping each byte to a number by table.
#include <algorithm>
#include <cstdlib>

#include "kernels/common/check.h"
#include "kernels/cuda/compact.h"
#include "kernels/cuda/device_errors.h"
#include "kernels/cuda/index.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {
namespace {

// Images (N, H, W, C) with any strides, in elements.
template <class T>
struct Images {
  T* data;
  int64_t strides[4];

  explicit Images(const Array& a) : data(a.data<T>()) { std::copy(a.strides.begin(), a.strides.begin() + 4, strides); }
  __device__ T& at(int64_t n, int64_t i, int64_t j, int64_t c) const {
    return data[n * strides[0] + i * strides[1] + j * strides[2] + c * strides[3]];
  }
};

// Maps an element's position within an image, counted in an array's memory order, to its (i, j, c).
struct Positions {
  Divisor extent[3];  // outermost first
  int place[3];       // the indices of H, W and C in `extent`

  explicit Positions(const Array& a) {
    int axes[3] = {1, 2, 3};
    std::stable_sort(axes, axes + 3, [&](int x, int y) { return std::abs(a.strides[x]) > std::abs(a.strides[y]); });
    for (int k = 0; k < 3; ++k) {
      extent[k] = Divisor(static_cast<uint32_t>(a.shape[axes[k]]));
      place[axes[k] - 1] = k;
    }
  }

  __device__ void locate(uint32_t position, uint32_t (&index)[3]) const {
    const uint32_t pair = extent[2].divide(position), outer = extent[1].divide(pair);
    const uint32_t middle = pair - outer * extent[1].extent, inner = position - pair * extent[2].extent;
    for (int k = 0; k < 3; ++k) index[k] = place[k] == 0 ? outer : place[k] == 1 ? middle : inner;
  }
};

// out[n, i, j, c] = values[c, images[m, i + down, (flipped ? W - 1 - j : j) + right, c]], for (m, down, right, flipped)
// = windows[n], or values[c, 0] if that position is outside. blockIdx.y selects images; an image with an invalid m is
// filled with values[c, 0]. Word is an unsigned integer of the size of out's dtype, because values are only copied.
//
// Bound by its launch at the usual size: 128 images of 32 x 32 x 3 as float32 are 1.6 MB written and 0.4 MB read, less
// than a microsecond. Large batches are bound by the position arithmetic, some 60 instructions per number: expected is
// a third of the bandwidth.
template <class Word>
__global__ void __launch_bounds__(kThreads)
    crop_kernel(const Images<const uint8_t> images, const int32_t* windows, const Word* values, const Images<Word> out,
                const Positions positions, int64_t number, uint32_t size, uint32_t height, uint32_t width,
                IndexLimit limit) {
  const uint32_t first = blockIdx.x * blockDim.x + threadIdx.x;
  for (int64_t n = blockIdx.y; n < number; n += gridDim.y) {
    const int32_t* const window = windows + 4 * n;
    const int32_t m = window[0], down = window[1], right = window[2], flipped = window[3];
    const bool is_valid = limit.contains(m);
    if (!is_valid && first == 0) limit.allows(m, n);  // records the error
    for (uint32_t position = first; position < size; position += gridDim.x * blockDim.x) {
      uint32_t index[3];
      positions.locate(position, index);
      const uint32_t i = index[0], j = index[1], c = index[2];
      const int64_t row = int64_t{i} + down, column = int64_t{flipped ? width - 1 - j : j} + right;
      const bool inside = is_valid && row >= 0 && row < height && column >= 0 && column < width;
      out.at(n, i, j, c) = values[c * kByteValues + (inside ? images.at(m, row, column, c) : 0)];
    }
  }
}

template <class Word>
void crop_typed(const Array& images, const Array& windows, const Array& values, const Array& out) {
  const Compact all_windows(windows), all_values(values);
  const int64_t number = out.shape[0], size = out.size() / number;
  const dim3 grid(blocks_for(size, kThreads), static_cast<unsigned>(std::min<int64_t>(number, 65535)));
  launch(crop_kernel<Word>, grid, kThreads, Images<const uint8_t>(images), all_windows.data<const int32_t>(),
         all_values.data<const Word>(), Images<Word>(out), Positions(out), number, static_cast<uint32_t>(size),
         static_cast<uint32_t>(out.shape[1]), static_cast<uint32_t>(out.shape[2]),
         index_limit("crop_images", "image", images.shape[0]));
}

}  // namespace

void crop_images(const Array& images, const Array& windows, const Array& values, const Array& out) {
  if (out.size() == 0) return;
  if (out.size() / out.shape[0] > kMostPositions)
    throw_shape_error("crop_images: images have shape %s, expected less than 2^31 numbers each on a GPU",
                      ShapeText(images).text);
  switch (itemsize(out.dtype)) {
    case 8: return crop_typed<uint64_t>(images, windows, values, out);
    case 4: return crop_typed<uint32_t>(images, windows, values, out);
    case 2: return crop_typed<uint16_t>(images, windows, values, out);
    default: return crop_typed<uint8_t>(images, windows, values, out);
  }
}

}  // namespace needle::cuda
