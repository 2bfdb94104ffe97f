// Convolutions of the cuDNN stand-in. Its ranking of algorithms exercises everything that a caller must handle: one
// algorithm is nondeterministic, one turns out to have no kernel, and one needs much memory.
#include <iterator>

#include "kernels/testing/cuda_emulation/cudnn_descriptors.h"

using namespace cuda_emulation;

namespace {

struct Problem {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct conv;

  // The number of elements in x.
  size_t numbers() const { return x.extents[0] * x.extents[1] * x.extents[2] * x.extents[3]; }
};

bool is_channels_last(const cudnnTensorStruct& a) {
  const auto& [n, c, h, w] = a.extents;
  return (c == 1 || a.strides[1] == 1) && (w == 1 || a.strides[3] == c) && (h == 1 || a.strides[2] == w * c);
}

cudnnStatus_t check(const Problem& p) {
  REFUSE_IF(p.x.type != p.y.type || p.x.type != p.w.type, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE);
  const bool is_double = p.x.type == CUDNN_DATA_DOUBLE;
  REFUSE_IF((p.conv.compute == CUDNN_DATA_DOUBLE) != is_double, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE);
  REFUSE_IF(p.conv.mode != CUDNN_CROSS_CORRELATION, CUDNN_STATUS_NOT_SUPPORTED);
  if (p.w.format == CUDNN_TENSOR_NHWC) {
    REFUSE_IF(is_double, CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
    REFUSE_IF(!is_channels_last(p.x) || !is_channels_last(p.y), CUDNN_STATUS_NOT_SUPPORTED_LAYOUT);
  }
  REFUSE_IF(p.x.extents[1] != p.w.extents[1] || p.y.extents[1] != p.w.extents[0],
            CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  REFUSE_IF(p.x.extents[0] != p.y.extents[0], CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t window = (p.w.extents[2 + axis] - 1) * p.conv.dilation[axis] + 1;
    const int64_t padded = p.x.extents[2 + axis] + 2 * p.conv.padding[axis];
    const int64_t windows = 1 + (padded - window) / p.conv.stride[axis];
    REFUSE_IF(window > padded || p.y.extents[2 + axis] != windows, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  }
  return CUDNN_STATUS_SUCCESS;
}

// The stand-in's description of an algorithm; it has no kernels for algorithms that it does not list.
struct Known {
  int algorithm;
  cudnnDeterminism_t determinism;
  size_t fixed, per_number;  // bytes of workspace: a constant, and per element of x
  bool has_kernel;
};
constexpr size_t kMuch = size_t{2} << 30;
constexpr Known kForward[] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, CUDNN_DETERMINISTIC, 0, 0, false},
    {CUDNN_CONVOLUTION_FWD_ALGO_FFT, CUDNN_DETERMINISTIC, kMuch, 0, false},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_DETERMINISTIC, 512, 64, true},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, CUDNN_DETERMINISTIC, 0, 0, true},
};
constexpr Known kBackwardData[] = {
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_NON_DETERMINISTIC, 0, 0, false},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, CUDNN_DETERMINISTIC, kMuch, 0, false},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_DETERMINISTIC, 512, 64, true},
};
constexpr Known kBackwardFilter[] = {
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_NON_DETERMINISTIC, 0, 0, false},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, CUDNN_DETERMINISTIC, kMuch, 0, false},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_DETERMINISTIC, 512, 64, true},
};

template <size_t count>
const Known* find(const Known (&known)[count], int algorithm) {
  for (const Known& one : known)
    if (one.algorithm == algorithm) return &one;
  return nullptr;
}

template <size_t known_count, class Performance>
cudnnStatus_t rank(const char* name, const Known (&known)[known_count], const Problem& p, int most, int* count,
                   Performance* found) {
  count_call(name);
  RETURN_IF_BAD(check(p));
  *count = 0;
  for (const Known& one : known) {
    if (*count == most) break;
    found[(*count)++] = {static_cast<decltype(found->algo)>(one.algorithm),
                         CUDNN_STATUS_SUCCESS,
                         -1,
                         one.fixed + one.per_number * p.numbers(),
                         one.determinism,
                         p.conv.math,
                         {}};
  }
  return CUDNN_STATUS_SUCCESS;
}

template <size_t count>
cudnnStatus_t size_of_workspace(const Known (&known)[count], const Problem& p, int algorithm, size_t* nbytes) {
  RETURN_IF_BAD(check(p));
  const Known* one = find(known, algorithm);
  REFUSE_IF(!one, CUDNN_STATUS_NOT_SUPPORTED);
  *nbytes = one->fixed + one->per_number * p.numbers();
  return CUDNN_STATUS_SUCCESS;
}

// Whether the algorithm may run with this workspace.
template <size_t count>
cudnnStatus_t check_run(const char* name, const Known (&known)[count], const Problem& p, int algorithm,
                        const void* workspace, size_t nbytes) {
  count_call(name, algorithm);
  size_t needed = 0;
  RETURN_IF_BAD(size_of_workspace(known, p, algorithm, &needed));
  const Known& one = *find(known, algorithm);
  REFUSE_IF(one.determinism == CUDNN_NON_DETERMINISTIC, CUDNN_STATUS_EXECUTION_FAILED);
  REFUSE_IF(nbytes < needed, CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  REFUSE_IF(needed > 0 && !workspace, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  REFUSE_IF(!one.has_kernel, CUDNN_STATUS_NOT_SUPPORTED);
  return CUDNN_STATUS_SUCCESS;
}

// Calls body(n, k, i, j, c, a, b, h, w) for each product of an output pixel i, j: pixel h, w times tap a, b.
template <class Body>
void for_each_product(const Problem& p, const Body& body) {
  const auto &x = p.x.extents, &w = p.w.extents, &y = p.y.extents;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t i = 0; i < y[2]; ++i)
      for (int64_t j = 0; j < y[3]; ++j)
        for (int64_t a = 0; a < w[2]; ++a)
          for (int64_t b = 0; b < w[3]; ++b) {
            const int64_t row = i * p.conv.stride[0] - p.conv.padding[0] + a * p.conv.dilation[0];
            const int64_t column = j * p.conv.stride[1] - p.conv.padding[1] + b * p.conv.dilation[1];
            if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
            for (int64_t k = 0; k < w[0]; ++k)
              for (int64_t c = 0; c < w[1]; ++c) body(n, k, i, j, c, a, b, row, column);
          }
}

// An operand, rounded to TF32 if cuDNN would do so.
Values operand(const Problem& p, const cudnnTensorStruct& desc, const void* data) {
  Values values = read(desc, data);
  if (desc.type == CUDNN_DATA_FLOAT && p.conv.math != CUDNN_FMA_MATH)
    for (double& value : values.data) value = as_tf32(static_cast<float>(value));
  return values;
}

// y = alpha * convolution + bias (null for none) + beta * y
void run_forward(cudaStream_t stream, const Problem& p, const void* x, const void* w, const void* bias, double alpha,
                 double beta, void* workspace, size_t nbytes, void* y) {
  submit(stream, [=] {
    if (nbytes) std::memset(workspace, 0xcd, nbytes);
    Values image = operand(p, p.x, x), weight = operand(p, p.w, w), out(p.y.extents);
    for_each_product(p, [&](int64_t n, int64_t k, int64_t i, int64_t j, int64_t c, int64_t a, int64_t b, int64_t h,
                            int64_t v) { out.at(n, k, i, j) += image.at(n, c, h, v) * weight.at(k, c, a, b); });
    if (bias) {
      const int64_t pixels = p.y.extents[2] * p.y.extents[3], channels = p.y.extents[1];
      for (size_t at = 0; at < out.data.size(); ++at)
        out.data[at] += load(number(p.y.type), bias, static_cast<int64_t>(at) / pixels % channels);
    }
    write(p.y, y, out, alpha, beta);
  });
}

cudnnStatus_t set_count(int* count, size_t value) {
  *count = static_cast<int>(value);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t, int* count) {
  return set_count(count, std::size(kForward));
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                     cudnnTensorDescriptor_t y, int most, int* count,
                                                     cudnnConvolutionFwdAlgoPerf_t* found) {
  return rank("cudnnGetConvolutionForwardAlgorithm_v7", kForward, {*x, *y, *w, *conv}, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                      cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algorithm,
                                                      size_t* nbytes) {
  return size_of_workspace(kForward, {*x, *y, *w, *conv}, algorithm, nbytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc,
                                      const void* x, cudnnFilterDescriptor_t w_desc, const void* w,
                                      cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algorithm,
                                      void* workspace, size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_desc, void* y) {
  const Problem p{*x_desc, *y_desc, *w_desc, *conv};
  RETURN_IF_BAD(check_run("cudnnConvolutionForward", kForward, p, algorithm, workspace, workspace_bytes));
  RETURN_IF_BAD(check_operand(p.x, x, false));
  RETURN_IF_BAD(check_operand(p.w, w, false));
  RETURN_IF_BAD(check_operand(p.y, y, true));
  run_forward(handle->stream, p, x, w, nullptr, factor(number(p.y.type), alpha), factor(number(p.y.type), beta),
              workspace, workspace_bytes, y);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void* alpha1, cudnnTensorDescriptor_t x_desc, const void* x,
    cudnnFilterDescriptor_t w_desc, const void* w, cudnnConvolutionDescriptor_t conv,
    cudnnConvolutionFwdAlgo_t algorithm, void* workspace, size_t workspace_bytes, const void* alpha2,
    cudnnTensorDescriptor_t z_desc, const void* z, cudnnTensorDescriptor_t bias_desc, const void* bias,
    cudnnActivationDescriptor_t activation, cudnnTensorDescriptor_t y_desc, void* y) {
  const Problem p{*x_desc, *y_desc, *w_desc, *conv};
  RETURN_IF_BAD(check_run("cudnnConvolutionBiasActivationForward", kForward, p, algorithm, workspace, workspace_bytes));
  RETURN_IF_BAD(check_operand(p.x, x, false));
  RETURN_IF_BAD(check_operand(p.w, w, false));
  RETURN_IF_BAD(check_operand(*z_desc, z, false));
  RETURN_IF_BAD(check_operand(*bias_desc, bias, false));
  RETURN_IF_BAD(check_operand(p.y, y, true));
  REFUSE_IF(
      activation->mode == CUDNN_ACTIVATION_IDENTITY && algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
      CUDNN_STATUS_NOT_SUPPORTED);
  REFUSE_IF(p.x.type == CUDNN_DATA_DOUBLE, CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE);  // tests the fallback, too
  const std::array<int64_t, 4> expected{1, p.y.extents[1], 1, 1};
  REFUSE_IF(bias_desc->extents != expected || bias_desc->strides[1] != 1, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  REFUSE_IF(z_desc->extents != p.y.extents, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  run_forward(handle->stream, p, x, w, bias, factor(number(p.y.type), alpha1), factor(number(p.y.type), alpha2),
              workspace, workspace_bytes, y);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t, int* count) {
  return set_count(count, std::size(kBackwardData));
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, cudnnFilterDescriptor_t w,
                                                          cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv,
                                                          cudnnTensorDescriptor_t dx, int most, int* count,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* found) {
  return rank("cudnnGetConvolutionBackwardDataAlgorithm_v7", kBackwardData, {*dx, *dy, *w, *conv}, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, cudnnFilterDescriptor_t w,
                                                           cudnnTensorDescriptor_t dy,
                                                           cudnnConvolutionDescriptor_t conv,
                                                           cudnnTensorDescriptor_t dx,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm, size_t* nbytes) {
  return size_of_workspace(kBackwardData, {*dx, *dy, *w, *conv}, algorithm, nbytes);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha, cudnnFilterDescriptor_t w_desc,
                                           const void* w, cudnnTensorDescriptor_t dy_desc, const void* dy,
                                           cudnnConvolutionDescriptor_t conv, cudnnConvolutionBwdDataAlgo_t algorithm,
                                           void* workspace, size_t workspace_bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_desc, void* dx) {
  const Problem p{*dx_desc, *dy_desc, *w_desc, *conv};
  RETURN_IF_BAD(check_run("cudnnConvolutionBackwardData", kBackwardData, p, algorithm, workspace, workspace_bytes));
  RETURN_IF_BAD(check_operand(p.w, w, false));
  RETURN_IF_BAD(check_operand(p.y, dy, false));
  RETURN_IF_BAD(check_operand(p.x, dx, true));
  const double scale = factor(number(p.x.type), alpha), kept = factor(number(p.x.type), beta);
  submit(handle->stream, [=] {
    if (workspace_bytes) std::memset(workspace, 0xcd, workspace_bytes);
    Values weight = operand(p, p.w, w), gradient = operand(p, p.y, dy), image(p.x.extents);
    for_each_product(p, [&](int64_t n, int64_t k, int64_t i, int64_t j, int64_t c, int64_t a, int64_t b, int64_t h,
                            int64_t v) { image.at(n, c, h, v) += gradient.at(n, k, i, j) * weight.at(k, c, a, b); });
    write(p.x, dx, image, scale, kept);
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t, int* count) {
  return set_count(count, std::size(kBackwardFilter));
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                            cudnnTensorDescriptor_t dy,
                                                            cudnnConvolutionDescriptor_t conv,
                                                            cudnnFilterDescriptor_t dw, int most, int* count,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* found) {
  return rank("cudnnGetConvolutionBackwardFilterAlgorithm_v7", kBackwardFilter, {*x, *dy, *dw, *conv}, most, count,
              found);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv,
    cudnnFilterDescriptor_t dw, cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* nbytes) {
  return size_of_workspace(kBackwardFilter, {*x, *dy, *dw, *conv}, algorithm, nbytes);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc,
                                             const void* x, cudnnTensorDescriptor_t dy_desc, const void* dy,
                                             cudnnConvolutionDescriptor_t conv,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             size_t workspace_bytes, const void* beta, cudnnFilterDescriptor_t dw_desc,
                                             void* dw) {
  const Problem p{*x_desc, *dy_desc, *dw_desc, *conv};
  RETURN_IF_BAD(check_run("cudnnConvolutionBackwardFilter", kBackwardFilter, p, algorithm, workspace, workspace_bytes));
  RETURN_IF_BAD(check_operand(p.x, x, false));
  RETURN_IF_BAD(check_operand(p.y, dy, false));
  RETURN_IF_BAD(check_operand(p.w, dw, true));
  const double scale = factor(number(p.w.type), alpha), kept = factor(number(p.w.type), beta);
  submit(handle->stream, [=] {
    if (workspace_bytes) std::memset(workspace, 0xcd, workspace_bytes);
    Values image = operand(p, p.x, x), gradient = operand(p, p.y, dy), weight(p.w.extents);
    for_each_product(p, [&](int64_t n, int64_t k, int64_t i, int64_t j, int64_t c, int64_t a, int64_t b, int64_t h,
                            int64_t v) { weight.at(k, c, a, b) += gradient.at(n, k, i, j) * image.at(n, c, h, v); });
    write(p.w, dw, weight, scale, kept);
  });
  return CUDNN_STATUS_SUCCESS;
}
