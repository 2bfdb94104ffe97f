// Two-dimensional convolution and its two gradients by cuDNN.
//
// Channels-last images, as Needle's layers make them, are used without copying. Others are copied, except for float64,
// whose kernels take any strides. Depending on the algorithm, taps that fall on padding are skipped or multiplied by
// zero, so that an infinite weight there may or may not give NaN.
#include <utility>

#include "kernels/common/buffer.h"
#include "kernels/common/error.h"
#include "kernels/common/plan.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/libraries/cudnn_algorithms.h"
#include "kernels/cuda/libraries/cudnn_images.h"
#include "kernels/cuda/libraries/kernels.h"
#include "kernels/cuda/libraries/provider.h"

namespace needle::cuda::libraries {
namespace {

// Whether cuDNN is to execute the call.
bool takes(Kernel kernel, const Array& x, const Array& w, const Array& y, int64_t stride, int64_t padding) {
  if (!is_within_reach(x) || !is_within_reach(w) || !is_within_reach(y) || stride > INT32_MAX || padding > INT32_MAX)
    return false;
  return is_chosen(kernel, y.dtype, y.size() * w.shape[0] * w.shape[1] * w.shape[2]);
}

// Calls run(way, workspace), which returns cuDNN's status, with the best way for which there are memory and a kernel. A
// way that fails for one of these reasons is not tried again. Returns false if no way is left.
template <class Run>
bool run_best(Convolution& made, const char* call, const Run& run) {
  while (!made.ways.empty()) {
    const Way way = made.ways.front();
    try {
      const Buffer workspace(static_cast<int64_t>(way.workspace), *device().pool);
      NEEDLE_CUDA(cudnnSetConvolutionMathType(made.convolution.get(), way.math));
      const cudnnStatus_t status = run(way, workspace);
      if (status == CUDNN_STATUS_SUCCESS) return true;
      if (!is_not_supported(status)) check(status, call);
      made.ways.erase(made.ways.begin());
    } catch (const OutOfMemoryError&) {
      for (auto other = made.ways.begin(); other != made.ways.end();)
        other = other->workspace >= way.workspace ? made.ways.erase(other) : other + 1;
    }
  }
  return false;
}

// out = x convolved with weight (+ bias). The bias is either fused into the one algorithm that supports it, or copied
// to out first, to which the convolution is then added.
bool convolve(Kernel kernel, const Array& x, const Array& weight, const Array* bias, const Array& out, int64_t stride,
              int64_t padding) {
  if (!takes(kernel, x, weight, out, stride, padding)) return false;
  const std::lock_guard<std::mutex> lock(cudnn_mutex());
  const Images images(x), outs(out, Content::overwritten);
  Convolution& made =
      convolution_for(Direction::forward, images.array(), weight, outs.array(), stride, padding, bias != nullptr);
  if (made.ways.empty()) return false;
  const Filter filter(weight);
  const Factor one(x.dtype, 1), zero(x.dtype, 0);
  const auto plain = [&](const Way& way, const Buffer& workspace, const Factor& beta) {
    return cudnnConvolutionForward(cudnn_handle(), one.data(), made.image.get(), images.data(), made.filter.get(),
                                   filter.data(), made.convolution.get(),
                                   static_cast<cudnnConvolutionFwdAlgo_t>(way.algorithm), workspace.data(),
                                   way.workspace, beta.data(), made.out.get(), outs.data());
  };
  const auto with_bias = [&](const Way& way, const Buffer& workspace) {
    const bool adds_bias = way.algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    if (made.activation && adds_bias && is_plain_vector(*bias)) {
      const cudnnStatus_t status = cudnnConvolutionBiasActivationForward(
          cudnn_handle(), one.data(), made.image.get(), images.data(), made.filter.get(), filter.data(),
          made.convolution.get(), static_cast<cudnnConvolutionFwdAlgo_t>(way.algorithm), workspace.data(),
          way.workspace, zero.data(), made.out.get(), outs.data(), made.bias.get(), first_byte(*bias),
          made.activation.get(), made.out.get(), outs.data());
      if (!is_not_supported(status)) return status;
      made.activation.reset();  // so that it is not tried again
    }
    Array everywhere = outs.array();
    everywhere.buffer = bias->buffer, everywhere.offset = bias->offset;
    everywhere.strides = {0, 0, 0, bias->strides[0]};
    copy(everywhere, outs.array());
    return plain(way, workspace, one);
  };
  const bool done = bias ? run_best(made, "cudnnConvolutionBiasActivationForward", with_bias)
                         : run_best(made, "cudnnConvolutionForward", [&](const Way& way, const Buffer& workspace) {
                             return plain(way, workspace, zero);
                           });
  if (done) outs.store();
  return done;
}

}  // namespace

bool conv2d(const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  return convolve(Kernel::conv2d, x, weight, nullptr, out, stride, padding);
}

bool conv2d_bias(const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding) {
  return convolve(Kernel::conv2d_bias, x, weight, &bias, out, stride, padding);
}

bool conv2d_backward_data(const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding) {
  if (!takes(Kernel::conv2d_backward_data, grad_x, weight, grad_out, stride, padding)) return false;
  const std::lock_guard<std::mutex> lock(cudnn_mutex());
  const Images gradients(grad_out), result(grad_x, Content::overwritten);
  Convolution& made = convolution_for(Direction::backward_data, result.array(), weight, gradients.array(), stride,
                                      padding, /*has_bias=*/false);
  if (made.ways.empty()) return false;
  const Filter filter(weight);
  const Factor one(grad_x.dtype, 1), zero(grad_x.dtype, 0);
  const bool done = run_best(made, "cudnnConvolutionBackwardData", [&](const Way& way, const Buffer& workspace) {
    return cudnnConvolutionBackwardData(cudnn_handle(), one.data(), made.filter.get(), filter.data(), made.out.get(),
                                        gradients.data(), made.convolution.get(),
                                        static_cast<cudnnConvolutionBwdDataAlgo_t>(way.algorithm), workspace.data(),
                                        way.workspace, zero.data(), made.image.get(), result.data());
  });
  if (done) result.store();
  return done;
}

bool conv2d_backward_weight(const Array& x, const Array& grad_out, const Array& grad_weight, int64_t stride,
                            int64_t padding) {
  if (!takes(Kernel::conv2d_backward_weight, x, grad_weight, grad_out, stride, padding)) return false;
  const std::lock_guard<std::mutex> lock(cudnn_mutex());
  const Images images(x), gradients(grad_out);
  Convolution& made = convolution_for(Direction::backward_weight, images.array(), grad_weight, gradients.array(),
                                      stride, padding, /*has_bias=*/false);
  if (made.ways.empty()) return false;
  const Filter result(grad_weight, Content::overwritten);
  const Factor one(x.dtype, 1), zero(x.dtype, 0);
  const bool done = run_best(made, "cudnnConvolutionBackwardFilter", [&](const Way& way, const Buffer& workspace) {
    return cudnnConvolutionBackwardFilter(cudnn_handle(), one.data(), made.image.get(), images.data(), made.out.get(),
                                          gradients.data(), made.convolution.get(),
                                          static_cast<cudnnConvolutionBwdFilterAlgo_t>(way.algorithm), workspace.data(),
                                          way.workspace, zero.data(), made.filter.get(), result.data());
  });
  if (done) result.store();
  return done;
}

}  // namespace needle::cuda::libraries
