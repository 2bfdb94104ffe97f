// The descriptors that Needle makes, as the real cuDNN reads them: that part of it needs no GPU.
#include "kernels/cuda/libraries/cudnn_descriptors.h"

#include "kernels/cuda/libraries/cudnn_images.h"
#include "kernels/testing/check.h"

namespace needle::cuda::libraries {
namespace {

constexpr DType kFloating[] = {DType::float32, DType::float64, DType::float16, DType::bfloat16};

Array images(DType dtype, int64_t n, int64_t height, int64_t width, int64_t channels) {
  return Array::compact(dtype, 4, {n, height, width, channels});
}

TEST(images_are_channels_last_tensors) {
  for (DType dtype : kFloating) {
    const TensorDescriptor made = describe_images(images(dtype, 2, 5, 7, 3));
    cudnnDataType_t type;
    int n, c, h, w, n_stride, c_stride, h_stride, w_stride;
    NEEDLE_CUDA(
        cudnnGetTensor4dDescriptor(made.get(), &type, &n, &c, &h, &w, &n_stride, &c_stride, &h_stride, &w_stride));
    EXPECT_EQ(type, cudnn_type(dtype));
    EXPECT(n == 2 && c == 3 && h == 5 && w == 7);
    EXPECT(n_stride == 105 && c_stride == 1 && h_stride == 21 && w_stride == 3);
  }
}

TEST(a_bias_has_one_number_for_each_channel) {
  const TensorDescriptor made = describe_bias(DType::float32, 12);
  cudnnDataType_t type;
  int n, c, h, w, n_stride, c_stride, h_stride, w_stride;
  NEEDLE_CUDA(
      cudnnGetTensor4dDescriptor(made.get(), &type, &n, &c, &h, &w, &n_stride, &c_stride, &h_stride, &w_stride));
  EXPECT(n == 1 && c == 12 && h == 1 && w == 1 && c_stride == 1);
}

TEST(convolutions_have_the_windows_that_ours_have) {
  for (DType dtype : kFloating)
    for (int64_t kernel : {1, 3, 5})
      for (int64_t stride : {1, 2, 3})
        for (int64_t padding : {0, 1, 4}) {
          const auto format = dtype == DType::float64 ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
          const TensorDescriptor image = describe_images(images(dtype, 2, 8, 11, 3));
          const FilterDescriptor filter = describe_filter(dtype, format, 6, 3, kernel, kernel);
          const ConvolutionDescriptor convolution = describe_convolution(dtype, stride, padding);
          NEEDLE_CUDA(cudnnSetConvolutionMathType(convolution.get(), CUDNN_FMA_MATH));
          int n, c, h, w;
          NEEDLE_CUDA(
              cudnnGetConvolution2dForwardOutputDim(convolution.get(), image.get(), filter.get(), &n, &c, &h, &w));
          EXPECT_EQ(n, 2);
          EXPECT_EQ(c, 6);
          EXPECT_EQ(h, (8 + 2 * padding - kernel) / stride + 1);
          EXPECT_EQ(w, (11 + 2 * padding - kernel) / stride + 1);
        }
}

TEST(pooling_has_the_windows_that_ours_has) {
  for (auto mode : {CUDNN_POOLING_MAX, CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING})
    for (int64_t kernel : {2, 3})
      for (int64_t stride : {1, 2, 3})
        for (int64_t padding : {0, 1}) {
          const TensorDescriptor image = describe_images(images(DType::float16, 2, 8, 11, 3));
          const PoolingDescriptor pooling = describe_pooling(mode, kernel, stride, padding);
          int n, c, h, w;
          NEEDLE_CUDA(cudnnGetPooling2dForwardOutputDim(pooling.get(), image.get(), &n, &c, &h, &w));
          EXPECT_EQ(h, (8 + 2 * padding - kernel) / stride + 1);
          EXPECT_EQ(w, (11 + 2 * padding - kernel) / stride + 1);
        }
}

TEST(an_identity_is_an_activation) { EXPECT(describe_identity() != nullptr); }

TEST(what_cudnn_refuses_is_an_error_with_the_name_of_the_call) {
  EXPECT_THROW(std::runtime_error, "cudnnSetConvolution2dDescriptor: ", describe_convolution(DType::float32, 0, 0));
  EXPECT_THROW(std::runtime_error,
               "cudnnSetFilter4dDescriptor: ", describe_filter(DType::float32, CUDNN_TENSOR_NHWC, 0, 3, 3, 3));
}

}  // namespace
}  // namespace needle::cuda::libraries
