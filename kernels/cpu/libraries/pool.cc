// Average pooling of (N, H, W, C) images over kernel x kernel windows, including the zeros of the padding. Max pooling
// always uses our kernels: oneDNN's loses NaN and returns the lowest finite number for a window of minus infinities.
#include <utility>

#include "kernels/cpu/libraries/kernels.h"
#include "kernels/cpu/libraries/operand.h"
#include "kernels/cpu/libraries/provider.h"
#include "kernels/cpu/libraries/recipe.h"

namespace needle::cpu::libraries {
namespace {

// The pooling of `image` (N, H, W, C) to `out` (N, H', W', C), or its gradient.
struct Pooling {
  DType dtype;
  int64_t n, height, width, channels, out_height, out_width, kernel, stride, padding;

  Pooling(const Array& image, const Array& out, int64_t kernel, int64_t stride, int64_t padding)
      : dtype(image.dtype),
        n(image.shape[0]),
        height(image.shape[1]),
        width(image.shape[2]),
        channels(image.shape[3]),
        out_height(out.shape[1]),
        out_width(out.shape[2]),
        kernel(kernel),
        stride(stride),
        padding(padding) {}

  std::shared_ptr<const Recipe> recipe(Kernel which) const {
    const Key key{
        static_cast<int64_t>(which), static_cast<int64_t>(dtype), n, height, width, channels, kernel, stride, padding};
    return find_recipe(key, [&](Recipe& made) {
      PrimitiveDesc desc = primitive(which);
      if (is_fast(desc)) made.primitive.emplace(std::move(desc));
    });
  }

  PrimitiveDesc primitive(Kernel which) const {
    const Library& onednn = *library();
    const Layout x = image_layout(dtype, n, height, width, channels);
    const Layout y = image_layout(dtype, n, out_height, out_width, channels);
    const dnnl_dims_t strides{stride, stride}, kernels{kernel, kernel}, dilation{0, 0}, paddings{padding, padding};
    PrimitiveDesc forward = describe([&](dnnl_primitive_desc_t* desc) {
      return onednn.pooling_forward_primitive_desc_create(desc, onednn.engine, dnnl_forward_training,
                                                          dnnl_pooling_avg_include_padding, x.get(), y.get(), strides,
                                                          kernels, dilation, paddings, paddings, onednn.attributes);
    });
    if (which == Kernel::avg_pool2d) return forward;
    return describe([&](dnnl_primitive_desc_t* desc) {
      return onednn.pooling_backward_primitive_desc_create(desc, onednn.engine, dnnl_pooling_avg_include_padding,
                                                           x.get(), y.get(), strides, kernels, dilation, paddings,
                                                           paddings, forward.get(), onednn.attributes);
    });
  }
};

// Whether oneDNN supports the call.
bool is_pooling(const Array& image, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  if (!is_supported(image) || !is_supported(out) || kernel > INT32_MAX) return false;
  return stride <= image.shape[1] + 2 * padding && stride <= image.shape[2] + 2 * padding;
}

}  // namespace

bool avg_pool2d(Level level, const Array& x, const Array& out, int64_t kernel, int64_t stride, int64_t padding) {
  if (!is_pooling(x, out, kernel, stride, padding)) return false;
  if (!is_chosen(level, Kernel::avg_pool2d, ShapeClass::any, x.size())) return false;
  const Threads threads;
  const auto recipe = Pooling(x, out, kernel, stride, padding).recipe(Kernel::avg_pool2d);
  if (!recipe->primitive) return false;
  const Input images(level, x);
  const Output result(out);
  recipe->primitive->run({{DNNL_ARG_SRC, images.data()}, {DNNL_ARG_DST, result.data()}});
  result.finish(level);
  return true;
}

bool avg_pool2d_backward(Level level, const Array& grad_out, const Array& grad_x, int64_t kernel, int64_t stride,
                         int64_t padding) {
  if (grad_x.dtype != DType::float32) return false;  // half-type sums would be rounded at each step
  if (!is_pooling(grad_x, grad_out, kernel, stride, padding)) return false;
  if (!is_chosen(level, Kernel::avg_pool2d_backward, ShapeClass::any, grad_x.size())) return false;
  const Threads threads;
  const auto recipe = Pooling(grad_x, grad_out, kernel, stride, padding).recipe(Kernel::avg_pool2d_backward);
  if (!recipe->primitive) return false;
  const Input gradients(level, grad_out);
  const Output result(grad_x);
  recipe->primitive->run({{DNNL_ARG_DIFF_DST, gradients.data()}, {DNNL_ARG_DIFF_SRC, result.data()}});
  result.finish(level);
  return true;
}

}  // namespace needle::cpu::libraries
