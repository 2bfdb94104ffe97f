// The descriptors of the cuDNN stand-in, and the data that they describe.
#pragma once

#include <cudnn.h>

#include <array>
#include <vector>

#include "kernels/testing/cuda_emulation/library_numbers.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  cudnnDataType_t type;
  std::array<int64_t, 4> extents{}, strides{};  // n, c, h, w
};
struct cudnnFilterStruct : cudnnTensorStruct {
  cudnnTensorFormat_t format;
};
struct cudnnConvolutionStruct {
  int64_t padding[2], stride[2], dilation[2];
  cudnnConvolutionMode_t mode;
  cudnnDataType_t compute;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnPoolingStruct {
  cudnnPoolingMode_t mode;
  cudnnNanPropagation_t nan;
  int64_t kernel[2], padding[2], stride[2];
};
struct cudnnActivationStruct {
  cudnnActivationMode_t mode;
};

namespace cuda_emulation {

Number number(cudnnDataType_t type);

// Sets the text that cudnnGetLastErrorString returns on this thread; returns `status`.
cudnnStatus_t refuse(cudnnStatus_t status, const char* why);

// An error status for operands that cuDNN does not accept: nonpositive strides, overlapping elements of an output, null
// pointers, and pointers that are not 16-byte aligned, because nothing documents that all kernels accept them.
cudnnStatus_t check_operand(const cudnnTensorStruct& desc, const void* data, bool is_output);

// Elements as row-major doubles, n, c, h, w.
struct Values {
  std::array<int64_t, 4> extents;
  std::vector<double> data;

  explicit Values(const std::array<int64_t, 4>& extents)
      : extents(extents), data(extents[0] * extents[1] * extents[2] * extents[3]) {}
  double& at(int64_t n, int64_t c, int64_t h, int64_t w) {
    return data[((n * extents[1] + c) * extents[2] + h) * extents[3] + w];
  }
};

Values read(const cudnnTensorStruct& desc, const void* data);
// data = alpha * values + beta * data; if beta is 0, data is not read.
void write(const cudnnTensorStruct& desc, void* data, Values& values, double alpha, double beta);

#define REFUSE_IF(condition, status) \
  if (condition) return ::cuda_emulation::refuse(status, #condition)
#define RETURN_IF_BAD(...) \
  if (const cudnnStatus_t bad = (__VA_ARGS__); bad != CUDNN_STATUS_SUCCESS) return bad

}  // namespace cuda_emulation
