// What cuDNN's calls are made of: its handle, and its descriptors with their C handles owned.
//
// These are the functions that cuDNN had before its graph API: marked as deprecated, and all there in 9.15, the version that
// is locked. One call says what takes a dozen objects there, which is made for longer chains of operations than any kernel
// of the table.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>

#include "kernels/common/array.h"
#include "kernels/cuda/libraries/error.h"

namespace needle::cuda::libraries {

// cuDNN's handle for this thread's device, which works on its stream. One thread at a time may use it, and with it
// everything that is kept for later calls: hold cudnn_mutex().
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

// Images (N, H, W, C) where they lie.
TensorDescriptor describe_images(const Array& images);
// (C,), for each pixel of some images.
TensorDescriptor describe_bias(DType dtype, int64_t channels);
// Row-major weights, (C_out, K_h, K_w, C_in) for NHWC and (C_out, C_in, K_h, K_w) for NCHW.
FilterDescriptor describe_filter(DType dtype, cudnnTensorFormat_t format, int64_t out_channels, int64_t in_channels,
                                 int64_t height, int64_t width);
ConvolutionDescriptor describe_convolution(DType dtype, int64_t stride, int64_t padding);
PoolingDescriptor describe_pooling(cudnnPoolingMode_t mode, int64_t kernel, int64_t stride, int64_t padding);
ActivationDescriptor describe_identity();

// A factor as cuDNN reads it: a double for float64, else a float.
class Factor {
 public:
  Factor(DType dtype, double value) : is_double_(dtype == DType::float64), double_(value), float_(value) {}
  const void* data() const { return is_double_ ? static_cast<const void*>(&double_) : &float_; }

 private:
  bool is_double_;
  double double_;
  float float_;
};

// Whether cuDNN has nothing for a call, for one of several reasons that it gives.
inline bool is_not_supported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
}

}  // namespace needle::cuda::libraries
