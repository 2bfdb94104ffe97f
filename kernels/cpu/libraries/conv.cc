// Two-dimensional convolution and its two gradients, with oneDNN's primitives for channels-last images.
//
// Our weights (K_h, K_w, C_in, C_out) are reordered to the primitive's layout at every call, and their gradient back.
// That moves C_in * C_out * taps numbers, compared with as many multiply-adds for each output pixel. oneDNN skips taps
// that fall on padding, so that an infinite weight times the zeros there adds nothing, whereas our kernels give NaN.
#include <memory>
#include <optional>
#include <utility>

#include "kernels/common/buffer.h"
#include "kernels/common/convolution.h"
#include "kernels/cpu/libraries/kernels.h"
#include "kernels/cpu/libraries/operand.h"
#include "kernels/cpu/libraries/provider.h"
#include "kernels/cpu/libraries/recipe.h"

namespace needle::cpu::libraries {
namespace {

// The number of (window, tap) pairs, along one axis, that fall inside the image.
int64_t pairs_inside(int64_t extent, int64_t windows, int64_t kernel, int64_t stride, int64_t padding) {
  int64_t pairs = 0;
  for (int64_t tap = 0; tap < kernel; ++tap) {  // inside if 0 <= i * stride + tap - padding < extent
    const int64_t before = padding - tap > 0 ? (padding - tap + stride - 1) / stride : 0;
    const int64_t room = extent - 1 + padding - tap;
    const int64_t last = room < 0 ? -1 : room / stride;
    const int64_t end = last + 1 < windows ? last + 1 : windows;
    if (end > before) pairs += end - before;
  }
  return pairs;
}

// A convolution of `image` (N, H, W, C_in) to `out` (N, H', W', C_out), or the gradient of one.
struct Convolution {
  DType dtype;
  int64_t n, height, width, in_channels, kernel_height, kernel_width, out_height, out_width, out_channels;
  int64_t stride, padding;

  Convolution(const Array& image, const Array& weight, const Array& out, int64_t stride, int64_t padding)
      : dtype(image.dtype),
        n(image.shape[0]),
        height(image.shape[1]),
        width(image.shape[2]),
        in_channels(image.shape[3]),
        kernel_height(weight.shape[0]),
        kernel_width(weight.shape[1]),
        out_height(out.shape[1]),
        out_width(out.shape[2]),
        out_channels(out.shape[3]),
        stride(stride),
        padding(padding) {}

  // Multiply-adds.
  int64_t work() const {
    return n * in_channels * out_channels * pairs_inside(height, out_height, kernel_height, stride, padding) *
           pairs_inside(width, out_width, kernel_width, stride, padding);
  }
  ShapeClass shape_class() const {
    return in_channels < 16 ? ShapeClass::few_channels : stride > 1 ? ShapeClass::strided : ShapeClass::any;
  }
  Key key(Kernel kernel) const {
    return {static_cast<int64_t>(kernel),
            static_cast<int64_t>(dtype),
            n,
            height,
            width,
            in_channels,
            kernel_height,
            kernel_width,
            out_channels,
            stride,
            padding};
  }

  Layout image() const { return image_layout(dtype, n, height, width, in_channels); }
  Layout out() const { return image_layout(dtype, n, out_height, out_width, out_channels); }
  // oneDNN's order of the axes is C_out, C_in, K_h, K_w.
  Layout weight() const {
    return strided_layout(dtype, {out_channels, in_channels, kernel_height, kernel_width},
                          {1, out_channels, kernel_width * in_channels * out_channels, in_channels * out_channels});
  }

  // The primitive of `kernel`; a gradient's description takes that of the forward convolution as a hint.
  PrimitiveDesc primitive(Kernel kernel) const {
    const Layout x = image(), y = out();
    const Layout w = any_layout(dtype, {out_channels, in_channels, kernel_height, kernel_width});
    const dnnl_dims_t strides{stride, stride}, dilation{0, 0}, paddings{padding, padding};
    const Library& onednn = *library();
    const Layout bias = kernel == Kernel::conv2d_bias ? strided_layout(dtype, {out_channels}, {1}) : nullptr;
    PrimitiveDesc forward = describe([&](dnnl_primitive_desc_t* desc) {
      return onednn.convolution_forward_primitive_desc_create(
          desc, onednn.engine, dnnl_forward_training, dnnl_convolution_direct, x.get(), w.get(), bias.get(), y.get(),
          strides, dilation, paddings, paddings, onednn.attributes);
    });
    if (kernel == Kernel::conv2d || kernel == Kernel::conv2d_bias) return forward;
    return describe([&](dnnl_primitive_desc_t* desc) {
      return kernel == Kernel::conv2d_backward_data
                 ? onednn.convolution_backward_data_primitive_desc_create(
                       desc, onednn.engine, dnnl_convolution_direct, x.get(), w.get(), y.get(), strides, dilation,
                       paddings, paddings, forward.get(), onednn.attributes)
                 : onednn.convolution_backward_weights_primitive_desc_create(
                       desc, onednn.engine, dnnl_convolution_direct, x.get(), w.get(), nullptr, y.get(), strides,
                       dilation, paddings, paddings, forward.get(), onednn.attributes);
    });
  }

  std::shared_ptr<const Recipe> recipe(Kernel kernel) const {
    return find_recipe(key(kernel), [&](Recipe& made) {
      PrimitiveDesc desc = primitive(kernel);
      if (!is_fast(desc)) return;
      made.primitive.emplace(std::move(desc));
      if (kernel == Kernel::conv2d_backward_weight)
        made.reorder = make_reorder(made.primitive->layout(DNNL_ARG_DIFF_WEIGHTS), weight().get());
      else
        made.reorder = make_reorder(weight().get(), made.primitive->layout(DNNL_ARG_WEIGHTS));
    });
  }
};

// Whether oneDNN supports the call.
bool is_convolution(const Array& image, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  if (!is_supported(image) || !is_supported(weight) || !is_supported(out)) return false;
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t extent = image.shape[1 + axis], kernel = weight.shape[axis];
    if (padding > extent + kernel || stride > extent + 2 * padding) return false;
    // oneDNN may leave outputs unwritten that no product contributes to: 3.2 does so with the bfloat16 gradient of a
    // tap that falls entirely on padding, if it processes all of a small image at once. Our kernels handle such taps.
    if (Taps(kernel, out.shape[1 + axis], stride, padding, extent).count() < kernel) return false;
  }
  return true;
}

// Whether every pixel of the image is in at least one window.
bool sees_all_pixels(const Array& image, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t last = (out.shape[1 + axis] - 1) * stride - padding + weight.shape[axis];
    if (stride > weight.shape[axis] || last < image.shape[1 + axis]) return false;
  }
  return true;
}

// The weights in the primitive's layout.
class Reordered {
 public:
  Reordered(const Recipe& recipe, const Input& weight)
      : buffer_(recipe.reorder ? recipe.primitive->nbytes(DNNL_ARG_WEIGHTS) : 0),
        data_(recipe.reorder ? buffer_.data() : weight.data()) {
    if (recipe.reorder) recipe.reorder->run({{DNNL_ARG_FROM, weight.data()}, {DNNL_ARG_TO, data_}});
  }
  void* data() const { return data_; }

 private:
  const Buffer buffer_;
  void* const data_;
};

// out = x convolved with weight (+ bias). Both forms use the choice table's entries for conv2d.
bool convolve(Level level, Kernel kernel, const Array& x, const Array& weight, const Array* bias, const Array& out,
              int64_t stride, int64_t padding) {
  if (!is_convolution(x, weight, out, stride, padding)) return false;
  const Convolution call(x, weight, out, stride, padding);
  if (!is_chosen(level, Kernel::conv2d, call.shape_class(), call.work())) return false;
  const Threads threads;
  const auto recipe = call.recipe(kernel);
  if (!recipe->primitive) return false;

  const Input images(level, x), weights(level, weight);
  const Output result(out);
  const Reordered reordered(*recipe, weights);
  std::optional<Input> biases;
  if (bias) biases.emplace(level, *bias);
  recipe->primitive->run({{DNNL_ARG_SRC, images.data()},
                          {DNNL_ARG_WEIGHTS, reordered.data()},
                          {DNNL_ARG_BIAS, biases ? biases->data() : nullptr},
                          {DNNL_ARG_DST, result.data()}});
  result.finish(level);
  return true;
}

}  // namespace

bool conv2d(Level level, const Array& x, const Array& weight, const Array& out, int64_t stride, int64_t padding) {
  return convolve(level, Kernel::conv2d, x, weight, nullptr, out, stride, padding);
}

bool conv2d_bias(Level level, const Array& x, const Array& weight, const Array& bias, const Array& out, int64_t stride,
                 int64_t padding) {
  return convolve(level, Kernel::conv2d_bias, x, weight, &bias, out, stride, padding);
}

bool conv2d_backward_data(Level level, const Array& grad_out, const Array& weight, const Array& grad_x, int64_t stride,
                          int64_t padding) {
  if (!is_convolution(grad_x, weight, grad_out, stride, padding)) return false;
  // oneDNN may likewise leave the gradients of pixels unwritten that are in no window.
  if (!sees_all_pixels(grad_x, weight, grad_out, stride, padding)) return false;
  const Convolution call(grad_x, weight, grad_out, stride, padding);
  if (!is_chosen(level, Kernel::conv2d_backward_data, call.shape_class(), call.work())) return false;
  const Threads threads;
  const auto recipe = call.recipe(Kernel::conv2d_backward_data);
  if (!recipe->primitive) return false;

  const Input gradients(level, grad_out), weights(level, weight);
  const Output result(grad_x);
  const Reordered reordered(*recipe, weights);
  recipe->primitive->run({{DNNL_ARG_DIFF_DST, gradients.data()},
                          {DNNL_ARG_WEIGHTS, reordered.data()},
                          {DNNL_ARG_DIFF_SRC, result.data()}});
  result.finish(level);
  return true;
}

bool conv2d_backward_weight(Level level, const Array& x, const Array& grad_out, const Array& grad_weight,
                            int64_t stride, int64_t padding) {
  if (!is_convolution(x, grad_weight, grad_out, stride, padding)) return false;
  const Convolution call(x, grad_weight, grad_out, stride, padding);
  if (!is_chosen(level, Kernel::conv2d_backward_weight, call.shape_class(), call.work())) return false;
  const Threads threads;
  const auto recipe = call.recipe(Kernel::conv2d_backward_weight);
  if (!recipe->primitive) return false;

  const Input images(level, x), gradients(level, grad_out);
  const Output result(grad_weight);
  const Buffer reordered(recipe->reorder ? recipe->primitive->nbytes(DNNL_ARG_DIFF_WEIGHTS) : 0);
  void* const data = recipe->reorder ? reordered.data() : result.data();
  recipe->primitive->run(
      {{DNNL_ARG_SRC, images.data()}, {DNNL_ARG_DIFF_DST, gradients.data()}, {DNNL_ARG_DIFF_WEIGHTS, data}});
  if (recipe->reorder) recipe->reorder->run({{DNNL_ARG_FROM, data}, {DNNL_ARG_TO, result.data()}});
  result.finish(level);
  return true;
}

}  // namespace needle::cpu::libraries
