// Which of cuDNN's algorithms does a convolution: chosen once for each form of call, by cuDNN's own ranking.
//
// The ranking comes from cudnnGetConvolution*Algorithm_v7, a model of the GPU that runs nothing. cudnnFind* measures
// instead, and so picks by chance between algorithms that are about as fast but round differently; two runs of a program
// would not give the same bits. For the same reason algorithms that add in the order in which threads come are left out.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/cuda/libraries/cudnn_descriptors.h"

namespace needle::cuda::libraries {

enum class Direction { forward, backward_data, backward_weight };

struct Way {
  int algorithm;  // of the enumeration for the direction
  cudnnMathType_t math;
  size_t workspace;  // bytes
};

// All that is known of one form of convolution. `image` is x or its gradient, `out` what the convolution gives or the
// gradient of it, `filter` the weights or theirs.
struct Convolution {
  Direction direction;
  TensorDescriptor image, out;
  FilterDescriptor filter;
  ConvolutionDescriptor convolution;
  TensorDescriptor bias;            // where there is one
  ActivationDescriptor activation;
  std::vector<Way> ways;            // best first; those that there was no room or no kernel for are taken out

  Convolution(Direction direction, const Array& images, const Array& weight, const Array& outs, int64_t stride,
              int64_t padding, bool has_bias);
};

// Equal for calls that may share a Convolution.
using ConvolutionKey = std::array<int64_t, 24>;
ConvolutionKey key_of(Direction direction, const Array& images, const Array& weight, const Array& outs, int64_t stride,
                      int64_t padding, bool has_bias);

// The one kept for the call, else a new one.
Convolution& convolution_for(Direction direction, const Array& images, const Array& weight, const Array& outs,
                             int64_t stride, int64_t padding, bool has_bias);

}  // namespace needle::cuda::libraries
