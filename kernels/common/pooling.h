// What pooling of (N, H, W, C) images over kernel x kernel windows is on all backends: where windows lie, and checks.
#pragma once

#include "kernels/common/check.h"
#include "kernels/common/host_device.h"
#include "kernels/common/parallel.h"

namespace needle {

// Windows along one axis, of which number i covers the pixels i * stride - padding and on, as far as there are pixels.
struct PoolingAxis {
  int64_t extent, windows, kernel, stride, padding;

  NEEDLE_HOST_DEVICE Range pixels(int64_t i) const {
    const int64_t begin = i * stride - padding;
    return {begin > 0 ? begin : 0, begin + kernel < extent ? begin + kernel : extent};
  }
  // The windows that cover a pixel.
  NEEDLE_HOST_DEVICE Range windows_over(int64_t pixel) const {
    const int64_t last = (pixel + padding) / stride, reach = pixel + padding - kernel;
    return {reach < 0 ? 0 : reach / stride + 1, last + 1 < windows ? last + 1 : windows};
  }
};

// x and out of a forward call, or grad_x and grad_out. Throws where they do not fit together.
struct PoolingGeometry {
  PoolingAxis rows, columns;
  int64_t images, channels;

  PoolingGeometry(const char* op, NamedArray x, NamedArray out, int64_t kernel, int64_t stride, int64_t padding);
};

}  // namespace needle
