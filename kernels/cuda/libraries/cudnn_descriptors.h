// cuDNN's handle, and RAII wrappers of its descriptors.
//
// We use the functions that predate cuDNN's graph API. They are marked as deprecated, but 9.15, the locked version,
// still has all of them. One such call replaces a dozen objects of the graph API, which is designed for longer chains
// of operations than any kernel of the table.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>

#include "kernels/common/array.h"
#include "kernels/cuda/libraries/error.h"

namespace needle::cuda::libraries {

// cuDNN's handle for this thread's device and its stream. The handle, and everything cached for later calls, is not
// thread-safe: hold cudnn_mutex() while using them.
cudnnHandle_t cudnn_handle();
std::mutex& cudnn_mutex();

template <class Pointer, cudnnStatus_t (*destroy)(Pointer)>
struct Destroy {
  void operator()(Pointer descriptor) const { destroy(descriptor); }
};
template <class Pointer, cudnnStatus_t (*destroy)(Pointer)>
using Descriptor = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<Pointer, destroy>>;
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Descriptor<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;
using PoolingDescriptor = Descriptor<cudnnPoolingDescriptor_t, cudnnDestroyPoolingDescriptor>;
using ActivationDescriptor = Descriptor<cudnnActivationDescriptor_t, cudnnDestroyActivationDescriptor>;

cudnnDataType_t cudnn_type(DType dtype);

// Images (N, H, W, C) with their own strides.
TensorDescriptor describe_images(const Array& images);
// A bias (C,), which is added to each pixel of some images.
TensorDescriptor describe_bias(DType dtype, int64_t channels);
// Row-major weights, (C_out, K_h, K_w, C_in) for NHWC and (C_out, C_in, K_h, K_w) for NCHW.
FilterDescriptor describe_filter(DType dtype, cudnnTensorFormat_t format, int64_t out_channels, int64_t in_channels,
                                 int64_t height, int64_t width);
ConvolutionDescriptor describe_convolution(DType dtype, int64_t stride, int64_t padding);
PoolingDescriptor describe_pooling(cudnnPoolingMode_t mode, int64_t kernel, int64_t stride, int64_t padding);
ActivationDescriptor describe_identity();

// A scaling factor in the form that cuDNN expects: a double for float64, else a float.
class Factor {
 public:
  Factor(DType dtype, double value) : is_double_(dtype == DType::float64), double_(value), float_(value) {}
  const void* data() const { return is_double_ ? static_cast<const void*>(&double_) : &float_; }

 private:
  bool is_double_;
  double double_;
  float float_;
};

// Whether the status means that cuDNN does not support a call, for any of several reasons.
inline bool is_not_supported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
}

}  // namespace needle::cuda::libraries
