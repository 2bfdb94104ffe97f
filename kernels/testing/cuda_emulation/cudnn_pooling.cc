// Pooling of the cuDNN stand-in.
#include <algorithm>
#include <limits>

#include "kernels/testing/cuda_emulation/cudnn_descriptors.h"

using namespace cuda_emulation;

namespace {

cudnnStatus_t check(const cudnnPoolingStruct& pooling, const cudnnTensorStruct& x, const cudnnTensorStruct& y) {
  REFUSE_IF(x.type != y.type, CUDNN_STATUS_BAD_PARAM);
  for (int axis = 0; axis < 2; ++axis) {
    REFUSE_IF(pooling.padding[axis] >= pooling.kernel[axis], CUDNN_STATUS_BAD_PARAM);
    const int64_t padded = x.extents[2 + axis] + 2 * pooling.padding[axis];
    const int64_t windows = 1 + (padded - pooling.kernel[axis]) / pooling.stride[axis];
    REFUSE_IF(y.extents[2 + axis] != windows, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  }
  REFUSE_IF(x.extents[0] != y.extents[0] || x.extents[1] != y.extents[1], CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  return CUDNN_STATUS_SUCCESS;
}

// Calls body(n, c, i, j, h, w) for each pixel h, w of window i, j that lies in the image.
template <class Body>
void for_each_pixel(const cudnnPoolingStruct& p, const Values& x, const Values& y, const Body& body) {
  for (int64_t n = 0; n < y.extents[0]; ++n)
    for (int64_t c = 0; c < y.extents[1]; ++c)
      for (int64_t i = 0; i < y.extents[2]; ++i)
        for (int64_t j = 0; j < y.extents[3]; ++j)
          for (int64_t a = 0; a < p.kernel[0]; ++a)
            for (int64_t b = 0; b < p.kernel[1]; ++b) {
              const int64_t h = i * p.stride[0] - p.padding[0] + a, w = j * p.stride[1] - p.padding[1] + b;
              if (h >= 0 && h < x.extents[2] && w >= 0 && w < x.extents[3]) body(n, c, i, j, h, w);
            }
}

bool same(const cudnnTensorStruct& a, const cudnnTensorStruct& b) {
  return a.type == b.type && a.extents == b.extents && a.strides == b.strides;
}

}  // namespace

cudnnStatus_t cudnnPoolingForward(cudnnHandle_t handle, cudnnPoolingDescriptor_t pooling, const void* alpha,
                                  cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                  cudnnTensorDescriptor_t y_desc, void* y) {
  count_call("cudnnPoolingForward");
  RETURN_IF_BAD(check(*pooling, *x_desc, *y_desc));
  RETURN_IF_BAD(check_operand(*x_desc, x, false));
  RETURN_IF_BAD(check_operand(*y_desc, y, true));
  const double scale = factor(number(x_desc->type), alpha), kept = factor(number(x_desc->type), beta);
  submit(handle->stream, [=, p = *pooling, from = *x_desc, to = *y_desc] {
    Values image = read(from, x), out(to.extents);
    const bool is_average = p.mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING;
    if (!is_average) std::fill(out.data.begin(), out.data.end(), -std::numeric_limits<double>::infinity());
    for_each_pixel(p, image, out, [&](int64_t n, int64_t c, int64_t i, int64_t j, int64_t h, int64_t w) {
      const double value = image.at(n, c, h, w);
      double& result = out.at(n, c, i, j);
      if (is_average)
        result += value / (p.kernel[0] * p.kernel[1]);
      else if (value > result || (value != value && p.nan == CUDNN_PROPAGATE_NAN))
        result = value;
    });
    write(to, y, out, scale, kept);
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t handle, cudnnPoolingDescriptor_t pooling, const void* alpha,
                                   cudnnTensorDescriptor_t y_desc, const void* y, cudnnTensorDescriptor_t dy_desc,
                                   const void* dy, cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                   cudnnTensorDescriptor_t dx_desc, void* dx) {
  count_call("cudnnPoolingBackward");
  REFUSE_IF(pooling->mode != CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, CUDNN_STATUS_NOT_SUPPORTED);
  const bool differ = !same(*y_desc, *dy_desc) || !same(*x_desc, *dx_desc);
  REFUSE_IF(differ, CUDNN_STATUS_BAD_PARAM);
  RETURN_IF_BAD(check(*pooling, *dx_desc, *dy_desc));
  RETURN_IF_BAD(check_operand(*y_desc, y, false));
  RETURN_IF_BAD(check_operand(*dy_desc, dy, false));
  RETURN_IF_BAD(check_operand(*x_desc, x, false));
  RETURN_IF_BAD(check_operand(*dx_desc, dx, true));
  const double scale = factor(number(dx_desc->type), alpha), kept = factor(number(dx_desc->type), beta);
  submit(handle->stream, [=, p = *pooling, from = *dy_desc, to = *dx_desc] {
    Values gradient = read(from, dy), image(to.extents);
    for_each_pixel(p, image, gradient, [&](int64_t n, int64_t c, int64_t i, int64_t j, int64_t h, int64_t w) {
      image.at(n, c, h, w) += gradient.at(n, c, i, j) / (p.kernel[0] * p.kernel[1]);
    });
    write(to, dx, image, scale, kept);
  });
  return CUDNN_STATUS_SUCCESS;
}
