// Selects cuDNN's algorithm for a convolution, once per call signature, by cuDNN's own ranking.
//
// The ranking comes from cudnnGetConvolution*Algorithm_v7, which models the GPU and runs nothing. cudnnFind* measures
// instead, so it chooses at random between algorithms that are about equally fast but round differently, and two runs
// of a program would not be bitwise equal. For the same reason, nondeterministic algorithms are excluded.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/cuda/libraries/cudnn_descriptors.h"

namespace needle::cuda::libraries {

enum class Direction { forward, backward_data, backward_weight };

struct Way {
  int algorithm;  // a value of the direction's enumeration
  cudnnMathType_t math;
  size_t workspace;  // bytes
};

// The descriptors and algorithms for one call signature. `image` is x or its gradient, `out` the convolution's output
// or its gradient, `filter` the weights or their gradient.
struct Convolution {
  Direction direction;
  TensorDescriptor image, out;
  FilterDescriptor filter;
  ConvolutionDescriptor convolution;
  TensorDescriptor bias;  // null without a bias
  ActivationDescriptor activation;
  std::vector<Way> ways;  // best first; a way is removed if it turns out to lack memory or a kernel

  Convolution(Direction direction, const Array& images, const Array& weight, const Array& outs, int64_t stride,
              int64_t padding, bool has_bias);
};

// Equal for calls that may share a Convolution.
using ConvolutionKey = std::array<int64_t, 24>;
ConvolutionKey key_of(Direction direction, const Array& images, const Array& weight, const Array& outs, int64_t stride,
                      int64_t padding, bool has_bias);

// The cached Convolution for the call, or a new one that is then cached.
Convolution& convolution_for(Direction direction, const Array& images, const Array& weight, const Array& outs,
                             int64_t stride, int64_t padding, bool has_bias);

}  // namespace needle::cuda::libraries
