// Batch normalization over the rows of x (..., C): Ioffe and Szegedy 2015.
//
// The mean and variance of a channel are computed in blocks of kShortBlock rows. Within a block
//     d = x - x_first,   mean = x_first + sum(d) / n,   M2 = sum(d^2) - sum(d)^2 / n
// in x's compute type: since x_first is one of the n values, (x_first - mean)^2 <= M2, so the subtraction loses at most
// a factor n of the type's precision, however large the mean is. Blocks are merged in float64 (Chan, Golub and LeVeque
// 1979):
//     delta = mean_b - mean_a,   mean = mean_a + delta n_b / n,   M2 = M2_a + M2_b + delta^2 n_a n_b / n
// in an order that depends only on the shape.
//
// If `relu` is set, the normalized values pass through max(., 0) before they are written. The backward pass recomputes
// the relu mask from x: the kernel is memory-bound, and it reads x anyway. It uses the rounded mean that the forward
// pass wrote. The forward result corrects for that rounding, but the mask does not. So if a mean is some 10^4 standard
// deviations or more, outputs within that rounding error of zero may get the wrong mask.
#include <cmath>

#include "kernels/cpu/norm.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int64_t kShortBlock = 32;

// Divides the rows and channels of up to three arrays of one shape (..., C) into tasks.
struct Tasks {
  int64_t channels, rows;
  int64_t tile, tiles;     // channels that a task takes, at most kChunk
  int64_t length, blocks;  // rows that a task takes
  int64_t count;

  Tasks(int64_t channels, int64_t rows) : channels(channels), rows(rows) {
    tile = channels < 1 ? 1 : channels < kChunk ? channels : kChunk;
    tiles = (channels + tile - 1) / tile;
    length = kTaskSize / tile;
    if (length < kShortBlock) length = kShortBlock;
    blocks = (rows + length - 1) / length;
    count = tiles * blocks;
  }
  Range block_rows(int64_t block) const { return part(block, length, rows); }
  Range task_rows(int64_t task) const { return block_rows(task / tiles); }
  Range task_channels(int64_t task) const { return part(task % tiles, tile, channels); }

 private:
  static Range part(int64_t index, int64_t each, int64_t total) {
    return {index * each, (index + 1) * each < total ? (index + 1) * each : total};
  }
};

// Mean and M2 (the sum of squared distances from it) of each channel of one task over its rows.
template <class T>
void block_statistics(const Plan& plan, const RowAccess<T>& x, Range rows, Range channels, double* mean, double* m2) {
  alignas(64) T scratch[kChunk], first[kChunk], d1[kChunk], d2[kChunk];
  const int64_t n = channels.end - channels.begin;
  Cursor cursor(plan, rows.begin);
  for (int64_t row = rows.begin; row < rows.end;) {
    const int64_t count = rows.end - row < kShortBlock ? rows.end - row : kShortBlock;
    std::memcpy(first, x.read(cursor.pointer(0), channels.begin, n, scratch), n * sizeof(T));
    cursor.advance(1);
    for (int64_t j = 0; j < n; ++j) d1[j] = d2[j] = first[j] - first[j];  // NaN if first[j] is infinite
    for (int64_t i = 1; i < count; ++i, cursor.advance(1)) {
      const T* values = x.read(cursor.pointer(0), channels.begin, n, scratch);
      for (int64_t j = 0; j < n; ++j) {
        const T d = values[j] - first[j];
        d1[j] += d;
        d2[j] += d * d;
      }
    }
    const double before = static_cast<double>(row - rows.begin), here = static_cast<double>(count);
    const double total = before + here, share = here / total;
    for (int64_t j = 0; j < n; ++j) {
      const double shift = d1[j] / here;
      const double block_mean = first[j] + shift, block_m2 = d2[j] - d1[j] * shift;
      const double delta = before > 0 ? block_mean - mean[j] : 0;
      mean[j] = before > 0 ? mean[j] + delta * share : block_mean;
      m2[j] = (before > 0 ? m2[j] : 0) + block_m2 + delta * delta * before * share;
    }
    row += count;
  }
}

// The mean and (biased) variance of every channel over all rows of x.
template <class T>
void channel_statistics(const Plan& plan, const Array& x, double* mean, double* variance) {
  const Tasks tasks(last_extent(x), row_count(x));
  const Scratch<double> means(tasks.blocks * tasks.channels), m2s(tasks.blocks * tasks.channels);
  const RowAccess<T> access(x);
  const int parts = parallel_parts(tasks.count, tasks.rows * tasks.channels);
  parallel_for(tasks.count, parts, [&](int, int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const Range rows = tasks.task_rows(task), channels = tasks.task_channels(task);
      const int64_t at = task / tasks.tiles * tasks.channels + channels.begin;
      block_statistics(plan, access, rows, channels, &means[at], &m2s[at]);
    }
  });
  for (int64_t c = 0; c < tasks.channels; ++c) {
    mean[c] = means[c];
    variance[c] = m2s[c];
  }
  for (int64_t block = 1; block < tasks.blocks; ++block) {
    const double before = static_cast<double>(block * tasks.length);
    const Range rows = tasks.block_rows(block);
    const double here = static_cast<double>(rows.end - rows.begin), share = here / (before + here);
    for (int64_t c = 0; c < tasks.channels; ++c) {
      const double delta = means[block * tasks.channels + c] - mean[c];
      mean[c] += delta * share;
      variance[c] += m2s[block * tasks.channels + c] + delta * delta * before * share;
    }
  }
  for (int64_t c = 0; c < tasks.channels; ++c)
    variance[c] = variance[c] > 0 || variance[c] != variance[c] ? variance[c] / static_cast<double>(tasks.rows) : 0;
}

// A channel's scale, weight / sqrt(variance + eps)
template <class T>
T scale_of(T weight, T variance, double eps) {
  return static_cast<T>(weight / std::sqrt(static_cast<double>(variance) + eps));
}

// out = (x - mean) * scale + bias, optionally followed by relu; mean, scale and bias are (C,). The plan's operands are
// x and out.
template <bool relu, class T>
void normalize_channels(const Plan& plan, const Array& x, const Array& out, const T* mean, const T* scale,
                        const T* bias) {
  const int64_t channels = last_extent(x);
  const RowAccess<T> read(x), write(out);
  parallel_for(plan.size, parallel_parts(plan.size, plan.size * channels), [&](int, int64_t begin, int64_t end) {
    alignas(64) T values_scratch[kChunk], out_scratch[kChunk];
    Cursor cursor(plan, begin);
    for (int64_t row = begin; row < end; ++row, cursor.advance(1))
      for (int64_t c = 0; c < channels; c += kChunk) {
        const int64_t n = channels - c < kChunk ? channels - c : kChunk;
        const T* values = read.read(cursor.pointer(0), c, n, values_scratch);
        T* to = write.target(cursor.pointer(1), c, out_scratch);
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) {
          const T normalized = (values[j] - mean[c + j]) * scale[c + j] + bias[c + j];
          to[j] = relu ? (T{0} > normalized ? T{0} : normalized) : normalized;  // propagates NaN
        }
        write.finish(cursor.pointer(1), c, n, to);
      }
  });
}

// running += momentum * (statistic - running), with the statistic rounded to running's dtype.
template <class T>
void update_running(const T* statistic, double momentum, const Array& running) {
  const int64_t channels = running.shape[0];
  const Scratch<T> before(channels), rounded(channels);
  read_vector(running, before.data());
  write_vector(statistic, running);
  read_vector(running, rounded.data());
  const T weight = static_cast<T>(momentum);
  for (int64_t c = 0; c < channels; ++c) before[c] += weight * (rounded[c] - before[c]);
  write_vector(before.data(), running);
}

template <class T>
void batch_norm_typed(const Array& x, const Array& weight, const Array& bias, const ArrayList& running,
                      const Array& out, const Array& mean, const Array& variance, double eps, double momentum,
                      bool relu) {
  const int64_t channels = last_extent(x);
  const Array* arrays[] = {&x, &out};
  const Plan plan(arrays, 2, leading_axes(x));
  const Scratch<double> exact_mean(channels), exact_variance(channels);
  channel_statistics<T>(plan, x, exact_mean.data(), exact_variance.data());

  const Scratch<T> means(channels), variances(channels), scale(channels), shift(channels);
  read_vector(weight, scale.data());
  read_vector(bias, shift.data());
  for (int64_t c = 0; c < channels; ++c) {
    means[c] = static_cast<T>(exact_mean[c]);
    variances[c] = static_cast<T>(exact_variance[c]);
    scale[c] = scale_of(scale[c], variances[c], eps);
    shift[c] -= static_cast<T>((exact_mean[c] - means[c]) * scale[c]);  // corrects for rounding the mean
  }
  (relu ? normalize_channels<true, T> : normalize_channels<false, T>)(plan, x, out, means.data(), scale.data(),
                                                                      shift.data());
  write_vector(means.data(), mean);
  write_vector(variances.data(), variance);
  if (running.count == 0) return;
  update_running(means.data(), momentum, running[0]);
  update_running(variances.data(), momentum, running[1]);
}

template <class T>
void batch_norm_inference_typed(const Array& x, const Array& weight, const Array& bias, const Array& mean,
                                const Array& variance, const Array& out, double eps, bool relu) {
  const int64_t channels = last_extent(x);
  const Array* arrays[] = {&x, &out};
  const Scratch<T> means(channels), variances(channels), scale(channels), shift(channels);
  read_vector(mean, means.data());
  read_vector(variance, variances.data());
  read_vector(weight, scale.data());
  read_vector(bias, shift.data());
  for (int64_t c = 0; c < channels; ++c) scale[c] = scale_of(scale[c], variances[c], eps);
  const Plan plan(arrays, 2, leading_axes(x));
  (relu ? normalize_channels<true, T> : normalize_channels<false, T>)(plan, x, out, means.data(), scale.data(),
                                                                      shift.data());
}

// The gradient of relu's input, normalized <= 0 ? 0 : grad, given that of its output; without relu just grad. The mask
// is computed from bits. As a signed integer, -normalized is between 0 and infinity's bits exactly if normalized <= 0;
// it is negative if normalized > 0, and above infinity or negative for NaN. A conditional expression would compile to a
// masked load, with which the whole kernel took 2.4 times as long on a Zen 5.
template <bool relu, class T>
T masked(T grad, T normalized) {
  if constexpr (relu) {
    using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
    using Wrapping = std::make_unsigned_t<Bits>;
    constexpr Wrapping kInfinity = sizeof(T) == 4 ? 0x7f800000 : 0x7ff0000000000000;
    const T negated = T{0} - normalized;
    Bits bits;
    Wrapping negated_bits;
    std::memcpy(&bits, &grad, sizeof grad);
    std::memcpy(&negated_bits, &negated, sizeof negated);
    bits &= static_cast<Bits>((kInfinity - negated_bits) | negated_bits) >> (8 * sizeof(T) - 1);
    std::memcpy(&grad, &bits, sizeof grad);
  }
  return grad;
}

// With x_hat = (x - mean) / sqrt(variance + eps), g = grad_out (with relu: x_hat weight + bias <= 0 ? 0 : grad_out),
// and sums over the n rows:
//     grad_bias = sum(g),   grad_weight = sum(g x_hat)
//     grad_x = weight / sqrt(variance + eps) (g - grad_bias / n - x_hat grad_weight / n)
template <bool relu, class T>
void batch_norm_backward_typed(const Array& grad_out, const Array& x, const Array& weight, const Array& bias,
                               const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                               const Array& grad_bias, double eps) {
  const Tasks tasks(last_extent(x), row_count(x));
  const int64_t channels = tasks.channels;
  const Array* arrays[] = {&x, &grad_out, &grad_x};
  const Plan plan(arrays, 3, leading_axes(x));
  const RowAccess<T> access_x(x), access_grad(grad_out), access_out(grad_x);
  const Scratch<T> means(channels), variances(channels), scale(channels), shift(channels);
  read_vector(mean, means.data());
  read_vector(variance, variances.data());
  read_vector(weight, scale.data());
  read_vector(bias, shift.data());
  for (int64_t c = 0; c < channels; ++c) scale[c] = scale_of(scale[c], variances[c], eps);

  // per block: sum(g) and sum(g (x - mean))
  const Scratch<double> grad_sums(tasks.blocks * channels), product_sums(tasks.blocks * channels);
  const int parts = parallel_parts(tasks.count, 2 * tasks.rows * channels);
  parallel_for(tasks.count, parts, [&](int, int64_t begin, int64_t end) {
    alignas(64) T x_scratch[kChunk], grad_scratch[kChunk], sum[kChunk], product[kChunk];
    for (int64_t task = begin; task < end; ++task) {
      const Range rows = tasks.task_rows(task), range = tasks.task_channels(task);
      const int64_t n = range.end - range.begin;
      double* grad_sum = &grad_sums[task / tasks.tiles * channels + range.begin];
      double* product_sum = &product_sums[task / tasks.tiles * channels + range.begin];
      const T *center = &means[range.begin], *scales = &scale[range.begin], *shifts = &shift[range.begin];
      for (int64_t j = 0; j < n; ++j) grad_sum[j] = product_sum[j] = 0;
      Cursor cursor(plan, rows.begin);
      for (int64_t row = rows.begin; row < rows.end;) {
        const int64_t stop = row + kShortSum < rows.end ? row + kShortSum : rows.end;
        for (int64_t j = 0; j < n; ++j) sum[j] = product[j] = 0;
        for (; row < stop; ++row, cursor.advance(1)) {
          const T* values = access_x.read(cursor.pointer(0), range.begin, n, x_scratch);
          const T* grads = access_grad.read(cursor.pointer(1), range.begin, n, grad_scratch);
          for (int64_t j = 0; j < n; ++j) {
            const T centered = values[j] - center[j];
            const T g = masked<relu>(grads[j], centered * scales[j] + shifts[j]);
            sum[j] += g;
            product[j] += g * centered;
          }
        }
        for (int64_t j = 0; j < n; ++j) {
          grad_sum[j] += sum[j];
          product_sum[j] += product[j];
        }
      }
    }
  });
  const Scratch<T> weight_grads(channels), bias_grads(channels), grad_mean(channels), slope(channels);
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (int64_t block = 0; block < tasks.blocks; ++block) {
      sum += grad_sums[block * channels + c];
      product += product_sums[block * channels + c];
    }
    const double inverse = 1 / (static_cast<double>(variances[c]) + eps), rows = static_cast<double>(tasks.rows);
    bias_grads[c] = static_cast<T>(sum);
    weight_grads[c] = static_cast<T>(product * std::sqrt(inverse));
    grad_mean[c] = static_cast<T>(sum / rows);
    slope[c] = static_cast<T>(product * inverse / rows);
  }
  parallel_for(plan.size, parallel_parts(plan.size, 2 * plan.size * channels), [&](int, int64_t begin, int64_t end) {
    alignas(64) T x_scratch[kChunk], grad_scratch[kChunk], out_scratch[kChunk];
    Cursor cursor(plan, begin);
    for (int64_t row = begin; row < end; ++row, cursor.advance(1))
      for (int64_t c = 0; c < channels; c += kChunk) {
        const int64_t n = channels - c < kChunk ? channels - c : kChunk;
        const T* values = access_x.read(cursor.pointer(0), c, n, x_scratch);
        const T* grads = access_grad.read(cursor.pointer(1), c, n, grad_scratch);
        T* to = access_out.target(cursor.pointer(2), c, out_scratch);
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) {
          const T centered = values[j] - means[c + j];
          const T g = masked<relu>(grads[j], centered * scale[c + j] + shift[c + j]);
          to[j] = scale[c + j] * (g - grad_mean[c + j] - centered * slope[c + j]);
        }
        access_out.finish(cursor.pointer(2), c, n, to);
      }
  });
  write_vector(weight_grads.data(), grad_weight);
  write_vector(bias_grads.data(), grad_bias);
}

}  // namespace

void batch_norm(const Array& x, const Array& weight, const Array& bias, const ArrayList& running, const Array& out,
                const Array& mean, const Array& variance, double eps, double momentum, bool relu) {
  (x.dtype == DType::float64 ? batch_norm_typed<double> : batch_norm_typed<float>)(x, weight, bias, running, out, mean,
                                                                                   variance, eps, momentum, relu);
}

void batch_norm_inference(const Array& x, const Array& weight, const Array& bias, const Array& mean,
                          const Array& variance, const Array& out, double eps, bool relu) {
  (x.dtype == DType::float64 ? batch_norm_inference_typed<double>
                             : batch_norm_inference_typed<float>)(x, weight, bias, mean, variance, out, eps, relu);
}

void batch_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& bias,
                         const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                         const Array& grad_bias, double eps, bool relu) {
  const auto run = x.dtype == DType::float64
                       ? relu ? batch_norm_backward_typed<true, double> : batch_norm_backward_typed<false, double>
                   : relu ? batch_norm_backward_typed<true, float>
                          : batch_norm_backward_typed<false, float>;
  run(grad_out, x, weight, bias, mean, variance, grad_x, grad_weight, grad_bias, eps);
}

}  // namespace needle::cpu::NEEDLE_LEVEL
