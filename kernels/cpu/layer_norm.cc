// Layer normalization along the last axis of x (..., C): Ba, Kiros and Hinton 2016.
#include <cmath>

#include "kernels/cpu/norm.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Sum of (a[i] - mean)^2.
template <class T>
Longer<T> squared_distances(int64_t n, const T* a, T mean) {
  Longer<T> sum = 0;
  for (int64_t i = 0; i < n; i += kRun) {
    const T* part = a + i;
    sum += fold<Add<T>>(
        n - i < kRun ? n - i : kRun, [&](int64_t j) { return (part[j] - mean) * (part[j] - mean); },
        [&](int64_t j, Vector<T>& to) {
          std::memcpy(&to, part + j, sizeof to);
          to -= mean;
          to *= to;
        });
  }
  return sum;
}

template <class T>
void layer_norm_typed(const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,
                      const Array& variance, double eps) {
  const int64_t channels = last_extent(x);
  const Array* arrays[] = {&x, &out, &mean, &variance};
  const Plan plan(arrays, 4, leading_axes(x));
  const RowAccess<T> read(x), write(out);
  const Store store_mean = store_for(mean.dtype), store_variance = store_for(variance.dtype);
  const Scratch<T> weights(channels), biases(channels);
  read_vector(weight, weights.data());
  read_vector(bias, biases.data());
  const int parts = parallel_parts(plan.size, 2 * plan.size * channels);
  const Scratch<T> scratch(saturated_product(2, parts, channels));
  parallel_for(plan.size, parts, [&](int part, int64_t begin, int64_t end) {
    T* read_scratch = &scratch[2 * part * channels];
    T* write_scratch = read_scratch + channels;
    Cursor cursor(plan, begin);
    for (int64_t row = begin; row < end; ++row, cursor.advance(1)) {
      const T* values = read.read(cursor.pointer(0), 0, channels, read_scratch);
      const T row_mean = static_cast<T>(long_sum(channels, values) / channels);
      const double row_variance = squared_distances(channels, values, row_mean) / channels;
      const T scale = static_cast<T>(1 / std::sqrt(row_variance + eps)), stored_variance = static_cast<T>(row_variance);
      T* to = write.target(cursor.pointer(1), 0, write_scratch);
#pragma GCC ivdep
      for (int64_t c = 0; c < channels; ++c) to[c] = (values[c] - row_mean) * scale * weights[c] + biases[c];
      write.finish(cursor.pointer(1), 0, channels, to);
      store_mean(1, &row_mean, cursor.pointer(2), 0);
      store_variance(1, &stored_variance, cursor.pointer(3), 0);
    }
  });
}

// With x_hat = (x - mean) / sqrt(variance + eps), g = grad_out * weight, and means taken along the row:
//     grad_x = (g - mean(g) - x_hat mean(g x_hat)) / sqrt(variance + eps)
//     grad_weight = sum over rows (grad_out x_hat),   grad_bias = sum over rows (grad_out)
template <class T>
void layer_norm_backward_typed(const Array& grad_out, const Array& x, const Array& weight, const Array& mean,
                               const Array& variance, const Array& grad_x, const Array& grad_weight,
                               const Array& grad_bias, double eps) {
  const int64_t channels = last_extent(x), rows = row_count(x);
  const Array* arrays[] = {&x, &grad_out, &mean, &variance, &grad_x};
  const Plan plan(arrays, 5, leading_axes(x));
  const RowAccess<T> access_x(x), access_grad(grad_out), access_out(grad_x);
  const Load load_mean = load_for(mean.dtype), load_variance = load_for(variance.dtype);
  const Scratch<T> weights(channels);
  read_vector(weight, weights.data());

  // Each block of rows accumulates its part of grad_weight and grad_bias in its own sums.
  const int64_t length = kTaskSize / channels > kShortSum ? kTaskSize / channels : kShortSum;
  const int64_t blocks = (rows + length - 1) / length;
  const Scratch<Longer<T>> weight_sums(blocks * channels), bias_sums(blocks * channels);
  const int parts = parallel_parts(blocks, 4 * rows * channels);
  // Rows of scratch memory are not a power of two apart, because a load stalls right after a store to an address that
  // differs by a multiple of 4096 (4K aliasing).
  const int64_t pitch = (channels / 64 + 1) * 64 + 48;
  const Scratch<T> scratch(saturated_product(6, parts, pitch));
  parallel_for(blocks, parts, [&](int part, int64_t begin, int64_t end) {
    T* x_hat = &scratch[6 * part * pitch];
    T *g = x_hat + pitch, *weight_sum = g + pitch, *bias_sum = weight_sum + pitch;
    T *grad_scratch = bias_sum + pitch, *out_scratch = grad_scratch + pitch;
    for (int64_t block = begin; block < end; ++block) {
      Longer<T>*weight_total = &weight_sums[block * channels], *bias_total = &bias_sums[block * channels];
      for (int64_t c = 0; c < channels; ++c) weight_total[c] = bias_total[c] = 0;
      const int64_t stop = (block + 1) * length < rows ? (block + 1) * length : rows;
      Cursor cursor(plan, block * length);
      for (int64_t row = block * length; row < stop;) {
        const int64_t short_stop = row + kShortSum < stop ? row + kShortSum : stop;
        for (int64_t c = 0; c < channels; ++c) weight_sum[c] = bias_sum[c] = 0;
        for (; row < short_stop; ++row, cursor.advance(1)) {
          T mean_chunk, variance_chunk;
          const T row_mean = *static_cast<const T*>(load_mean(1, cursor.pointer(2), 0, &mean_chunk));
          const T row_variance = *static_cast<const T*>(load_variance(1, cursor.pointer(3), 0, &variance_chunk));
          const T inverse_std = static_cast<T>(1 / std::sqrt(row_variance + eps));
          const T* values = access_x.read(cursor.pointer(0), 0, channels, out_scratch);
          const T* grads = access_grad.read(cursor.pointer(1), 0, channels, grad_scratch);
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) {
            x_hat[c] = (values[c] - row_mean) * inverse_std;
            g[c] = grads[c] * weights[c];
            weight_sum[c] += grads[c] * x_hat[c];
            bias_sum[c] += grads[c];
          }
          const T mean_g = static_cast<T>(long_sum(channels, g) / channels);
          for (int64_t c = 0; c < channels; ++c) g[c] -= mean_g;
          // mean(g x_hat) is computed as mean((g - mean(g)) x_hat), which is equal because x_hat has mean 0
          T* products = out_scratch;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) products[c] = g[c] * x_hat[c];
          const T mean_product = static_cast<T>(long_sum(channels, products) / channels);
          T* to = access_out.target(cursor.pointer(4), 0, out_scratch);
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) to[c] = (g[c] - x_hat[c] * mean_product) * inverse_std;
          access_out.finish(cursor.pointer(4), 0, channels, to);
        }
        for (int64_t c = 0; c < channels; ++c) {
          weight_total[c] += weight_sum[c];
          bias_total[c] += bias_sum[c];
        }
      }
    }
  });
  const Scratch<T> weight_grads(channels), bias_grads(channels);
  for (int64_t c = 0; c < channels; ++c) {
    Longer<T> weight_total = 0, bias_total = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      weight_total += weight_sums[block * channels + c];
      bias_total += bias_sums[block * channels + c];
    }
    weight_grads[c] = static_cast<T>(weight_total);
    bias_grads[c] = static_cast<T>(bias_total);
  }
  write_vector(weight_grads.data(), grad_weight);
  write_vector(bias_grads.data(), grad_bias);
}

}  // namespace

void layer_norm(const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,
                const Array& variance, double eps) {
  (x.dtype == DType::float64 ? layer_norm_typed<double> : layer_norm_typed<float>)(x, weight, bias, out, mean, variance,
                                                                                   eps);
}

void layer_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& mean,
                         const Array& variance, const Array& grad_x, const Array& grad_weight, const Array& grad_bias,
                         double eps) {
  (x.dtype == DType::float64
       ? layer_norm_backward_typed<double>
       : layer_norm_backward_typed<float>)(grad_out, x, weight, mean, variance, grad_x, grad_weight, grad_bias, eps);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
