#include "kernels/cuda/libraries/cudnn_descriptors.h"

#include <map>

#include "kernels/cuda/device.h"

namespace needle::cuda::libraries {
namespace {

int as_int(int64_t value) { return static_cast<int>(value); }  // callers have checked the range: cudnn_images.h

// The object that `create` makes, owned from the start, so that a failing `set` leaks nothing.
template <class Owned, class Pointer>
Owned made_by(cudnnStatus_t (*create)(Pointer*), const char* call) {
  Pointer descriptor = nullptr;
  check(create(&descriptor), call);
  return Owned(descriptor);
}
#define NEEDLE_MADE_BY(Owned, create) made_by<Owned>(create, #create)

}  // namespace

cudnnHandle_t cudnn_handle() {  // one per device, never destroyed
  static auto* handles = new std::map<int, cudnnHandle_t>;
  const Device& mine = device();
  cudnnHandle_t& handle = (*handles)[mine.index];
  if (!handle) {
    cudnnHandle_t made = nullptr;
    NEEDLE_CUDA(cudnnCreate(&made));
    NEEDLE_CUDA(cudnnSetStream(made, mine.stream));
    handle = made;
  }
  return handle;
}

std::mutex& cudnn_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

cudnnDataType_t cudnn_type(DType dtype) {
  switch (dtype) {
    case DType::float64: return CUDNN_DATA_DOUBLE;
    case DType::float16: return CUDNN_DATA_HALF;
    case DType::bfloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

TensorDescriptor describe_images(const Array& images) {
  auto made = NEEDLE_MADE_BY(TensorDescriptor, cudnnCreateTensorDescriptor);
  const Dims &shape = images.shape, &strides = images.strides;
  NEEDLE_CUDA(cudnnSetTensor4dDescriptorEx(made.get(), cudnn_type(images.dtype), as_int(shape[0]), as_int(shape[3]),
                                           as_int(shape[1]), as_int(shape[2]), as_int(strides[0]), as_int(strides[3]),
                                           as_int(strides[1]), as_int(strides[2])));
  return made;
}

TensorDescriptor describe_bias(DType dtype, int64_t channels) {
  auto made = NEEDLE_MADE_BY(TensorDescriptor, cudnnCreateTensorDescriptor);
  NEEDLE_CUDA(cudnnSetTensor4dDescriptorEx(made.get(), cudnn_type(dtype), 1, as_int(channels), 1, 1, as_int(channels),
                                           1, as_int(channels), as_int(channels)));
  return made;
}

FilterDescriptor describe_filter(DType dtype, cudnnTensorFormat_t format, int64_t out_channels, int64_t in_channels,
                                 int64_t height, int64_t width) {
  auto made = NEEDLE_MADE_BY(FilterDescriptor, cudnnCreateFilterDescriptor);
  NEEDLE_CUDA(cudnnSetFilter4dDescriptor(made.get(), cudnn_type(dtype), format, as_int(out_channels),
                                         as_int(in_channels), as_int(height), as_int(width)));
  return made;
}

ConvolutionDescriptor describe_convolution(DType dtype, int64_t stride, int64_t padding) {
  auto made = NEEDLE_MADE_BY(ConvolutionDescriptor, cudnnCreateConvolutionDescriptor);
  const int step = as_int(stride), edge = as_int(padding);
  NEEDLE_CUDA(cudnnSetConvolution2dDescriptor(made.get(), edge, edge, step, step, 1, 1, CUDNN_CROSS_CORRELATION,
                                              dtype == DType::float64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT));
  return made;
}

PoolingDescriptor describe_pooling(cudnnPoolingMode_t mode, int64_t kernel, int64_t stride, int64_t padding) {
  auto made = NEEDLE_MADE_BY(PoolingDescriptor, cudnnCreatePoolingDescriptor);
  const int extent = as_int(kernel), step = as_int(stride), edge = as_int(padding);
  NEEDLE_CUDA(
      cudnnSetPooling2dDescriptor(made.get(), mode, CUDNN_PROPAGATE_NAN, extent, extent, edge, edge, step, step));
  return made;
}

ActivationDescriptor describe_identity() {
  auto made = NEEDLE_MADE_BY(ActivationDescriptor, cudnnCreateActivationDescriptor);
  NEEDLE_CUDA(cudnnSetActivationDescriptor(made.get(), CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0));
  return made;
}

}  // namespace needle::cuda::libraries
