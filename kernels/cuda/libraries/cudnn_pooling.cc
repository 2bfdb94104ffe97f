// Pooling by cuDNN: average pooling, its gradient, and max pooling, of images with any positive strides.
//
// The gradient of max pooling always uses our kernel. cuDNN needs the maxima as an operand, but the kernel table does
// not pass them, so they would have to be recomputed. Nor does cuDNN document which of several equal elements gets the
// gradient.
#include "kernels/common/plan.h"
#include "kernels/cuda/libraries/cudnn_descriptors.h"
#include "kernels/cuda/libraries/cudnn_images.h"
#include "kernels/cuda/libraries/kernels.h"
#include "kernels/cuda/libraries/provider.h"

namespace needle::cuda::libraries {
namespace {

// Whether cuDNN is to execute the call.
bool takes(Kernel which, const Array& x, const Array& out, int64_t kernel, int64_t stride) {
  return is_within_reach(x) && is_within_reach(out) && kernel <= INT32_MAX && stride <= INT32_MAX &&
         is_plainly_strided(x) && is_plainly_strided(out) && is_chosen(which, x.dtype, x.size() + out.size());
}

// Whether cuDNN executed a call that returned `status`; throws on errors.
bool has_done(cudnnStatus_t status, const char* call) {
  if (is_not_supported(status)) return false;
  check(status, call);
  return true;
}

bool pool(Kernel which, cudnnPoolingMode_t mode, const Array& x, const Array& out, int64_t kernel, int64_t stride,
          int64_t padding) {
  if (!takes(which, x, out, kernel, stride)) return false;
  const std::lock_guard<std::mutex> lock(cudnn_mutex());
  const auto pooling = describe_pooling(mode, kernel, stride, padding);
  const auto from = describe_images(with_plain_strides(x)), to = describe_images(with_plain_strides(out));
  const Factor one(x.dtype, 1), zero(x.dtype, 0);
  return has_done(cudnnPoolingForward(cudnn_handle(), pooling.get(), one.data(), from.get(), first_byte(x), zero.data(),
                                      to.get(), first_byte(out)),
                  "cudnnPoolingForward");
}

}  // namespace

bool max_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  return pool(Kernel::max_pool2d, CUDNN_POOLING_MAX, x, out, kernel, stride, padding);
}

bool avg_pool2d(const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  return pool(Kernel::avg_pool2d, CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, x, out, kernel, stride, padding);
}

// cuDNN also takes x and out here, but the gradient of an average does not depend on them, so the gradients are passed
// in their place.
bool avg_pool2d_backward(const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride, int64_t padding) {
  if (!takes(Kernel::avg_pool2d_backward, grad_x, grad_out, kernel, stride)) return false;
  const std::lock_guard<std::mutex> lock(cudnn_mutex());
  const auto pooling = describe_pooling(CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, kernel, stride, padding);
  const auto out = describe_images(with_plain_strides(grad_out)), image = describe_images(with_plain_strides(grad_x));
  const Factor one(grad_x.dtype, 1), zero(grad_x.dtype, 0);
  return has_done(cudnnPoolingBackward(cudnn_handle(), pooling.get(), one.data(), out.get(), first_byte(grad_out),
                                       out.get(), first_byte(grad_out), image.get(), first_byte(grad_x), zero.data(),
                                       image.get(), first_byte(grad_x)),
                  "cudnnPoolingBackward");
}

}  // namespace needle::cuda::libraries
