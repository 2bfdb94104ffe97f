// Batch normalization of x (..., C) over its rows: with the statistics of x itself, with given ones, and backward.
// oneDNN keeps weight, bias and statistics in float32, whatever the dtype of x. Our kernels handle calls with a ReLU,
// because oneDNN's backward pass needs a mask that its forward pass has stored.
#include <cstring>
#include <utility>

#include "kernels/cpu/libraries/kernels.h"
#include "kernels/cpu/libraries/operand.h"
#include "kernels/cpu/libraries/provider.h"
#include "kernels/cpu/libraries/recipe.h"

namespace needle::cpu::libraries {
namespace {

constexpr DType kParameter = DType::float32;

std::shared_ptr<const Recipe> find_norm(Kernel kernel, const Array& x, double eps) {
  // Any shape with these rows gives the same numbers. oneDNN divides images, then their pixels, among threads.
  const int64_t channels = x.shape[x.ndim - 1], images = x.ndim > 1 ? x.shape[0] : 1;
  const int64_t pixels = x.size() / channels / images;
  const float epsilon = static_cast<float>(eps);
  int32_t epsilon_bits;
  std::memcpy(&epsilon_bits, &epsilon, sizeof epsilon_bits);
  const Key key{static_cast<int64_t>(kernel), static_cast<int64_t>(x.dtype), images, pixels, channels, epsilon_bits};
  return find_recipe(key, [&](Recipe& made) {
    const Library& onednn = *library();
    const Layout rows = image_layout(x.dtype, images, pixels, 1, channels);
    const unsigned flags = dnnl_use_scale | dnnl_use_shift;
    const bool is_inference = kernel == Kernel::batch_norm_inference;
    PrimitiveDesc desc = describe([&](dnnl_primitive_desc_t* described) {
      return onednn.batch_normalization_forward_primitive_desc_create(
          described, onednn.engine, is_inference ? dnnl_forward_inference : dnnl_forward_training, rows.get(),
          rows.get(), epsilon, is_inference ? flags | dnnl_use_global_stats : flags, onednn.attributes);
    });
    if (kernel == Kernel::batch_norm_backward)
      desc = describe([&](dnnl_primitive_desc_t* described) {
        return onednn.batch_normalization_backward_primitive_desc_create(described, onednn.engine, dnnl_backward,
                                                                         rows.get(), rows.get(), rows.get(), epsilon,
                                                                         flags, desc.get(), onednn.attributes);
      });
    if (is_fast(desc)) made.primitive.emplace(std::move(desc));
  });
}

// running += momentum * (statistic - running), with the statistic rounded to running's dtype.
void update_running(Level level, const Output& statistic, double momentum, const Array& running) {
  const Input rounded(level, copied(level, statistic.array(), running.dtype), kParameter);
  const Input before(level, running, kParameter);
  const Output after(running, kParameter);
  const auto *target = static_cast<const float*>(rounded.data()), *from = static_cast<const float*>(before.data());
  const float weight = static_cast<float>(momentum);
  for (int64_t c = 0; c < running.shape[0]; ++c)
    static_cast<float*>(after.data())[c] = from[c] + weight * (target[c] - from[c]);
  after.finish(level);
}

}  // namespace

bool batch_norm(Level level, const Array& x, const Array& weight, const Array& bias, const ArrayList& running,
                const Array& out, const Array& mean, const Array& variance, double eps, double momentum, bool relu) {
  if (relu || !is_supported(x)) return false;
  if (!is_chosen(level, Kernel::batch_norm, ShapeClass::any, x.size())) return false;
  const Threads threads;
  const auto recipe = find_norm(Kernel::batch_norm, x, eps);
  if (!recipe->primitive) return false;
  const Input rows(level, x), weights(level, weight, kParameter), biases(level, bias, kParameter);
  const Output result(out), means(mean, kParameter), variances(variance, kParameter);
  recipe->primitive->run({{DNNL_ARG_SRC, rows.data()},
                          {DNNL_ARG_SCALE, weights.data()},
                          {DNNL_ARG_SHIFT, biases.data()},
                          {DNNL_ARG_DST, result.data()},
                          {DNNL_ARG_MEAN, means.data()},
                          {DNNL_ARG_VARIANCE, variances.data()}});
  for (const Output* written : {&result, &means, &variances}) written->finish(level);
  if (running.count > 0) {
    update_running(level, means, momentum, running[0]);
    update_running(level, variances, momentum, running[1]);
  }
  return true;
}

bool batch_norm_inference(Level level, const Array& x, const Array& weight, const Array& bias, const Array& mean,
                          const Array& variance, const Array& out, double eps, bool relu) {
  if (relu || !is_supported(x)) return false;
  if (!is_chosen(level, Kernel::batch_norm_inference, ShapeClass::any, x.size())) return false;
  const Threads threads;
  const auto recipe = find_norm(Kernel::batch_norm_inference, x, eps);
  if (!recipe->primitive) return false;
  const Input rows(level, x), weights(level, weight, kParameter), biases(level, bias, kParameter);
  const Input means(level, mean, kParameter), variances(level, variance, kParameter);
  const Output result(out);
  recipe->primitive->run({{DNNL_ARG_SRC, rows.data()},
                          {DNNL_ARG_SCALE, weights.data()},
                          {DNNL_ARG_SHIFT, biases.data()},
                          {DNNL_ARG_MEAN, means.data()},
                          {DNNL_ARG_VARIANCE, variances.data()},
                          {DNNL_ARG_DST, result.data()}});
  result.finish(level);
  return true;
}

bool batch_norm_backward(Level level, const Array& grad_out, const Array& x, const Array& weight, const Array& /*bias*/,
                         const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                         const Array& grad_bias, double eps, bool relu) {
  if (relu || !is_supported(x)) return false;
  if (!is_chosen(level, Kernel::batch_norm_backward, ShapeClass::any, x.size())) return false;
  const Threads threads;
  const auto recipe = find_norm(Kernel::batch_norm_backward, x, eps);
  if (!recipe->primitive) return false;
  const Input rows(level, x), gradients(level, grad_out), weights(level, weight, kParameter);
  const Input means(level, mean, kParameter), variances(level, variance, kParameter);
  const Output result(grad_x), weight_grads(grad_weight, kParameter), bias_grads(grad_bias, kParameter);
  recipe->primitive->run({{DNNL_ARG_SRC, rows.data()},
                          {DNNL_ARG_DIFF_DST, gradients.data()},
                          {DNNL_ARG_SCALE, weights.data()},
                          {DNNL_ARG_MEAN, means.data()},
                          {DNNL_ARG_VARIANCE, variances.data()},
                          {DNNL_ARG_DIFF_SRC, result.data()},
                          {DNNL_ARG_DIFF_SCALE, weight_grads.data()},
                          {DNNL_ARG_DIFF_SHIFT, bias_grads.data()}});
  for (const Output* written : {&result, &weight_grads, &bias_grads}) written->finish(level);
  return true;
}

}  // namespace needle::cpu::libraries
