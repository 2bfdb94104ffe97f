#include "kernels/testing/cuda_emulation/cudnn_descriptors.h"

#include <algorithm>
#include <cstdio>

using namespace cuda_emulation;

namespace {

thread_local const char* last_error = "";

template <class Struct>
cudnnStatus_t make(Struct** desc) {
  REFUSE_IF(!desc, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  *desc = new Struct{};
  return CUDNN_STATUS_SUCCESS;
}

template <class Struct>
cudnnStatus_t destroy(Struct* desc) {
  delete desc;
  return CUDNN_STATUS_SUCCESS;
}

template <class Body>
void for_each(const std::array<int64_t, 4>& extents, const Body& body) {
  for (int64_t n = 0; n < extents[0]; ++n)
    for (int64_t c = 0; c < extents[1]; ++c)
      for (int64_t h = 0; h < extents[2]; ++h)
        for (int64_t w = 0; w < extents[3]; ++w) body(n, c, h, w);
}

}  // namespace

Number cuda_emulation::number(cudnnDataType_t type) {
  switch (type) {
    case CUDNN_DATA_DOUBLE: return Number::float64;
    case CUDNN_DATA_HALF: return Number::float16;
    case CUDNN_DATA_BFLOAT16: return Number::bfloat16;
    default: return Number::float32;
  }
}

cudnnStatus_t cuda_emulation::refuse(cudnnStatus_t status, const char* why) {
  last_error = why;
  return status;
}

cudnnStatus_t cuda_emulation::check_operand(const cudnnTensorStruct& desc, const void* data, bool is_output) {
  REFUSE_IF(!data, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  const bool is_misaligned = reinterpret_cast<uintptr_t>(data) % 16 != 0;
  REFUSE_IF(is_misaligned, CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride, extent
  for (int d = 0; d < 4; ++d) {
    REFUSE_IF(desc.strides[d] <= 0, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
    if (desc.extents[d] > 1) axes.emplace_back(desc.strides[d], desc.extents[d]);
  }
  std::sort(axes.begin(), axes.end());
  int64_t reach = 0;
  for (const auto& [stride, extent] : axes) {
    const bool overlaps = stride <= reach;
    REFUSE_IF(is_output && overlaps, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
    reach += (extent - 1) * stride;
  }
  return CUDNN_STATUS_SUCCESS;
}

Values cuda_emulation::read(const cudnnTensorStruct& desc, const void* data) {
  Values values(desc.extents);
  const auto& s = desc.strides;
  for_each(desc.extents, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
    values.at(n, c, h, w) = load(number(desc.type), data, n * s[0] + c * s[1] + h * s[2] + w * s[3]);
  });
  return values;
}

void cuda_emulation::write(const cudnnTensorStruct& desc, void* data, Values& values, double alpha, double beta) {
  const auto& s = desc.strides;
  for_each(desc.extents, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t place = n * s[0] + c * s[1] + h * s[2] + w * s[3];
    double value = alpha * values.at(n, c, h, w);
    if (beta != 0) value += beta * load(number(desc.type), data, place);
    store(number(desc.type), data, place, value);
  });
}

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (CUDNN_STATUS_CATEGORY(status)) {
    case 0: return "CUDNN_STATUS_SUCCESS";
    case 2000: return "CUDNN_STATUS_BAD_PARAM";
    case 3000: return "CUDNN_STATUS_NOT_SUPPORTED";
    case 4000: return "CUDNN_STATUS_INTERNAL_ERROR";
    default: return "CUDNN_STATUS_EXECUTION_FAILED";
  }
}

void cudnnGetLastErrorString(char* text, size_t nbytes) { std::snprintf(text, nbytes, "%s", last_error); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return make(handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* desc) { return make(desc); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t desc) { return destroy(desc); }
cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t desc, cudnnDataType_t type, int n, int c, int h,
                                           int w, int n_stride, int c_stride, int h_stride, int w_stride) {
  const bool is_empty = n < 1 || c < 1 || h < 1 || w < 1;
  REFUSE_IF(is_empty, CUDNN_STATUS_BAD_PARAM);
  *desc = {type, {n, c, h, w}, {n_stride, c_stride, h_stride, w_stride}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* desc) { return make(desc); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t desc) { return destroy(desc); }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t desc, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int k, int c, int h, int w) {
  const bool is_empty = k < 1 || c < 1 || h < 1 || w < 1;
  REFUSE_IF(is_empty, CUDNN_STATUS_BAD_PARAM);
  desc->type = type;
  desc->format = format;
  desc->extents = {k, c, h, w};
  const int64_t taps = int64_t{h} * w;
  if (format == CUDNN_TENSOR_NHWC)
    desc->strides = {taps * c, 1, int64_t{w} * c, c};
  else
    desc->strides = {taps * c, taps, w, 1};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* desc) { return make(desc); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t desc) { return destroy(desc); }
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t desc, int pad_h, int pad_w, int u, int v,
                                              int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  const bool is_wrong = pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || dilation_h < 1 || dilation_w < 1;
  REFUSE_IF(is_wrong, CUDNN_STATUS_BAD_PARAM);
  *desc = {{pad_h, pad_w}, {u, v}, {dilation_h, dilation_w}, mode, compute};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t desc, cudnnMathType_t math) {
  desc->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreatePoolingDescriptor(cudnnPoolingDescriptor_t* desc) { return make(desc); }
cudnnStatus_t cudnnDestroyPoolingDescriptor(cudnnPoolingDescriptor_t desc) { return destroy(desc); }
cudnnStatus_t cudnnSetPooling2dDescriptor(cudnnPoolingDescriptor_t desc, cudnnPoolingMode_t mode,
                                          cudnnNanPropagation_t nan, int height, int width, int pad_h, int pad_w,
                                          int stride_h, int stride_w) {
  const bool is_wrong = height < 1 || width < 1 || pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1;
  REFUSE_IF(is_wrong, CUDNN_STATUS_BAD_PARAM);
  *desc = {mode, nan, {height, width}, {pad_h, pad_w}, {stride_h, stride_w}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* desc) { return make(desc); }
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t desc) { return destroy(desc); }
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t desc, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  desc->mode = mode;
  return CUDNN_STATUS_SUCCESS;
}
