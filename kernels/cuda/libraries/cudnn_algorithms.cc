#include "kernels/cuda/libraries/cudnn_algorithms.h"

#include <memory>

#include "kernels/common/bounded_cache.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/libraries/provider.h"

namespace needle::cuda::libraries {
namespace {

constexpr size_t kMostWorkspace = size_t{512} << 20;
constexpr size_t kMostConvolutions = 512;

bool is_strict(DType dtype) { return dtype == DType::float32 && !allows_tf32(); }

// The math type to request. Without CUDNN_FMA_MATH cuDNN rounds float32 operands to TF32.
cudnnMathType_t wanted_math(DType dtype) {
  if (is_strict(dtype)) return CUDNN_FMA_MATH;
  return is_half_dtype(dtype) ? CUDNN_TENSOR_OP_MATH : CUDNN_DEFAULT_MATH;
}

// The ways of one direction, best first. rank(most, &count, found) and size(algorithm, &bytes) call cuDNN's functions.
template <class Ranked, class Rank, class Size>
std::vector<Way> find_ways(DType dtype, cudnnConvolutionDescriptor_t convolution, int most, const char* call,
                           const Rank& rank, const Size& size) {
  NEEDLE_CUDA(cudnnSetConvolutionMathType(convolution, wanted_math(dtype)));
  std::vector<Ranked> found(most);
  int count = 0;
  const cudnnStatus_t status = rank(most, &count, found.data());
  if (is_not_supported(status)) return {};
  check(status, call);
  found.resize(count);

  std::vector<Way> ways;
  for (const Ranked& one : found) {
    if (one.status != CUDNN_STATUS_SUCCESS || one.determinism != CUDNN_DETERMINISTIC) continue;
    if (one.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) continue;  // converts float32 to float16
    if (is_strict(dtype) && one.mathType == CUDNN_TENSOR_OP_MATH) continue;
    // The algorithm and the math type together determine the kernel and the size of its workspace.
    const cudnnMathType_t math = is_strict(dtype) ? CUDNN_FMA_MATH : one.mathType;
    NEEDLE_CUDA(cudnnSetConvolutionMathType(convolution, math));
    size_t workspace = 0;
    if (size(one.algo, &workspace) != CUDNN_STATUS_SUCCESS || workspace > kMostWorkspace) continue;
    ways.push_back({one.algo, math, workspace});
  }
  return ways;
}

std::vector<Way> find_ways(DType dtype, const Convolution& made) {
  const cudnnHandle_t handle = cudnn_handle();
  const auto image = made.image.get(), out = made.out.get();
  const auto filter = made.filter.get();
  const auto convolution = made.convolution.get();
  int most = 0;
  switch (made.direction) {
    case Direction::forward:
      NEEDLE_CUDA(cudnnGetConvolutionForwardAlgorithmMaxCount(handle, &most));
      return find_ways<cudnnConvolutionFwdAlgoPerf_t>(
          dtype, convolution, most, "cudnnGetConvolutionForwardAlgorithm_v7",
          [&](int most, int* count, auto* found) {
            return cudnnGetConvolutionForwardAlgorithm_v7(handle, image, filter, convolution, out, most, count, found);
          },
          [&](auto algorithm, size_t* size) {
            return cudnnGetConvolutionForwardWorkspaceSize(handle, image, filter, convolution, out, algorithm, size);
          });
    case Direction::backward_data:
      NEEDLE_CUDA(cudnnGetConvolutionBackwardDataAlgorithmMaxCount(handle, &most));
      return find_ways<cudnnConvolutionBwdDataAlgoPerf_t>(
          dtype, convolution, most, "cudnnGetConvolutionBackwardDataAlgorithm_v7",
          [&](int most, int* count, auto* found) {
            return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, filter, out, convolution, image, most, count,
                                                               found);
          },
          [&](auto algorithm, size_t* size) {
            return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, filter, out, convolution, image, algorithm,
                                                                size);
          });
    default:
      NEEDLE_CUDA(cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(handle, &most));
      return find_ways<cudnnConvolutionBwdFilterAlgoPerf_t>(
          dtype, convolution, most, "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
          [&](int most, int* count, auto* found) {
            return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, image, out, convolution, filter, most, count,
                                                                 found);
          },
          [&](auto algorithm, size_t* size) {
            return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, image, out, convolution, filter, algorithm,
                                                                  size);
          });
  }
}

}  // namespace

Convolution::Convolution(Direction direction, const Array& images, const Array& weight, const Array& outs,
                         int64_t stride, int64_t padding, bool has_bias)
    : direction(direction),
      image(describe_images(images)),
      out(describe_images(outs)),
      filter(describe_filter(images.dtype, images.dtype == DType::float64 ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC,
                             weight.shape[3], weight.shape[2], weight.shape[0], weight.shape[1])),
      convolution(describe_convolution(images.dtype, stride, padding)) {
  if (has_bias) {
    bias = describe_bias(images.dtype, weight.shape[3]);
    activation = describe_identity();
  }
  ways = find_ways(images.dtype, *this);
}

ConvolutionKey key_of(Direction direction, const Array& images, const Array& weight, const Array& outs, int64_t stride,
                      int64_t padding, bool has_bias) {
  ConvolutionKey key{};
  size_t count = 0;
  for (int64_t number : {static_cast<int64_t>(device().index), static_cast<int64_t>(direction),
                         static_cast<int64_t>(images.dtype), static_cast<int64_t>(wanted_math(images.dtype)),
                         static_cast<int64_t>(has_bias), stride, padding, weight.shape[0], weight.shape[1]})
    key[count++] = number;
  for (const Array* a : {&images, &outs}) {
    for (int d = 0; d < 4; ++d) key[count++] = a->strides[d];
    for (int d = a == &images ? 0 : 3; d < 4; ++d) key[count++] = a->shape[d];  // outs' other extents follow
  }
  return key;
}

Convolution& convolution_for(Direction direction, const Array& images, const Array& weight, const Array& outs,
                             int64_t stride, int64_t padding, bool has_bias) {
  static auto* kept = new BoundedCache<ConvolutionKey, std::unique_ptr<Convolution>>(kMostConvolutions);
  const ConvolutionKey key = key_of(direction, images, weight, outs, stride, padding, has_bias);
  if (const auto* found = kept->find(key)) return **found;
  return *kept->keep(key, std::make_unique<Convolution>(direction, images, weight, outs, stride, padding, has_bias));
}

}  // namespace needle::cuda::libraries
