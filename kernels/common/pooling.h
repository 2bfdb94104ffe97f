// Window positions of pooling (N, H, W, C) images over kernel x kernel windows, shared by all backends.
#pragma once

#include "kernels/common/array.h"
#include "kernels/common/host_device.h"
#include "kernels/common/parallel.h"

namespace needle {

// Windows along one axis. Window i covers `kernel` pixels from i * stride - padding on, clipped to the image.
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

// Takes x and out of a forward call, or grad_x and grad_out.
struct PoolingGeometry {
  PoolingAxis rows, columns;
  int64_t images, channels;

  PoolingGeometry(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding);
};

}  // namespace needle
