// Batch normalization over the rows of x (..., C): Ioffe and Szegedy 2015.
//
// A thread computes the mean and M2 (the sum of squared distances from it) of a channel in blocks of kShortBlock rows,
//     d = x - x_first,   mean = x_first + sum(d) / n,   M2 = sum(d^2) - sum(d)^2 / n
// in x's compute type: since x_first is one of the n values, (x_first - mean)^2 <= M2, so the subtraction loses at most
// a factor n of the type's precision, however large the mean is. Blocks are merged in float64 (Chan, Golub and LeVeque
// 1979), within a thread, then a block of threads, then over all blocks, in an order that depends only on the shape:
//     delta = mean_b - mean_a,   mean = mean_a + delta n_b / n,   M2 = M2_a + M2_b + delta^2 n_a n_b / n
//
// If `relu` is set, the normalized values pass through max(., 0). The backward pass recomputes the relu mask from x.
//
// Bound: memory. Forward reads x twice and writes out; backward reads x and grad_out twice and writes grad_x. Data that
// fits in L2 is read from memory only once. Expected: some 85% of the memory bandwidth from 10 MB on.
#include <cmath>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/norm.h"

namespace needle::cuda {
namespace {

struct Moments {
  double count, mean, m2;
};

struct JoinMoments {
  __device__ void operator()(Moments& left, const Moments& right) const {
    if (right.count == 0) return;
    if (left.count == 0) {
      left = right;
      return;
    }
    const double count = left.count + right.count, share = right.count / count, delta = right.mean - left.mean;
    left = {count, left.mean + delta * share, left.m2 + right.m2 + delta * delta * left.count * share};
  }
};

__device__ inline Moments shuffle_xor(const Moments& moments, int bits) {
  return {cuda::shuffle_xor(moments.count, bits), cuda::shuffle_xor(moments.mean, bits),
          cuda::shuffle_xor(moments.m2, bits)};
}

// A channel's coefficients: it is normalized by (x - mean) * scale + shift, where scale = weight / sqrt(variance +
// eps). For the gradient: the mean of g and slope = mean(g (x - mean)) / (variance + eps).
template <class Value>
struct Coefficients {
  Value mean, scale, shift, grad_mean, slope;

  __device__ Value normalized(Value x) const { return (x - mean) * scale + shift; }
  __device__ Value masked(Value grad, Value x, bool relu) const { return relu && normalized(x) <= 0 ? Value{0} : grad; }
};

template <class Value>
__device__ Value scale_of(Value weight, Value variance, double eps) {
  return static_cast<Value>(weight / std::sqrt(static_cast<double>(variance) + eps));
}

// The coefficients of a pack of channels.
template <class Value, int width>
struct Several {
  Coefficients<Value> of[width];

  __device__ Several(const Coefficients<Value>* all, int64_t channel, int64_t channels) {
    for (int j = 0; j < width; ++j)
      if (channel + j < channels) of[j] = all[channel + j];
  }
};

// Writes each channel's moments over part blockIdx.y of the rows of (x, ...) to moments (channels, parts).
template <class T, int width, int arrays>
__global__ void __launch_bounds__(kThreads) moments_kernel(Channels<arrays> job, Moments* moments) {
  using Value = Compute<T>;
  const int64_t channel = job.template channel<width>(), end = job.end(), step = job.row_step();
  Moments total[width];
  for (int j = 0; j < width; ++j) total[j] = {0, 0, 0};
  if (channel < job.channels) {
    for (int64_t row = job.begin(); row < end;) {
      const int count = static_cast<int>(std::min((end - row + step - 1) / step, int64_t{kShortBlock}));
      std::byte* at[arrays];
      job.template locate<width>(row, channel, at);
      Value first[width], d1[width], d2[width];
      const auto pack = read_pack<T, width>(at[0]);
      for (int j = 0; j < width; ++j) {
        first[j] = static_cast<Value>(pack.values[j]);
        d1[j] = d2[j] = first[j] - first[j];  // NaN if first[j] is infinite
      }
      row += step;
#pragma unroll 4
      for (int i = 1; i < count; ++i, row += step) {
        job.template locate<width>(row, channel, at);
        const auto values = read_pack<T, width>(at[0]);
        for (int j = 0; j < width; ++j) {
          const Value d = static_cast<Value>(values.values[j]) - first[j];
          d1[j] += d;
          d2[j] += d * d;
        }
      }
      const double inverse = 1.0 / count;
      for (int j = 0; j < width; ++j) {
        const double shift = d1[j] * inverse;
        JoinMoments{}(total[j], {static_cast<double>(count), first[j] + shift, d2[j] - d1[j] * shift});
      }
    }
  }
  join_rows(total, job.columns, JoinMoments{});
  if (job.row() > 0) return;
  for (int j = 0; j < width; ++j)
    if (channel + j < job.channels) moments[(channel + j) * gridDim.y + blockIdx.y] = total[j];
}

// running += momentum * (statistic - running) at channel c, with the statistic rounded to running's dtype.
template <class T>
__device__ void update_running(const Parameter<T>& running, int64_t c, Compute<T> statistic, Compute<T> momentum) {
  const Compute<T> before = running[c];
  running.set(c, statistic);
  running.set(c, before + momentum * (running[c] - before));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(const Moments* moments, int64_t channels, int parts, Parameter<T> weight, Parameter<T> bias,
                      Parameter<T> mean, Parameter<T> variance, Parameter<T> running_mean,
                      Parameter<T> running_variance, double eps, Compute<T> momentum,
                      Coefficients<Compute<T>>* coefficients) {
  using Value = Compute<T>;
  const int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  const Moments all = join_parts(moments, c, channels, parts, JoinMoments{});
  if (c >= channels || threadIdx.x % kWarp > 0) return;
  const Value rounded_mean = static_cast<Value>(all.mean);
  const Value rounded_variance = all.m2 > 0 || all.m2 != all.m2 ? static_cast<Value>(all.m2 / all.count) : Value{0};
  const Value scale = scale_of(weight[c], rounded_variance, eps);
  // corrects for rounding the mean
  const Value shift = bias[c] - static_cast<Value>((all.mean - rounded_mean) * scale);
  coefficients[c] = {rounded_mean, scale, shift, 0, 0};
  mean.set(c, rounded_mean);
  variance.set(c, rounded_variance);
  if (running_mean.first == nullptr) return;
  update_running(running_mean, c, rounded_mean, momentum);
  update_running(running_variance, c, rounded_variance, momentum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    coefficients_kernel(int64_t channels, Parameter<T> weight, Parameter<T> bias, Parameter<T> mean,
                        Parameter<T> variance, double eps, Coefficients<Compute<T>>* coefficients) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < channels) coefficients[c] = {mean[c], scale_of(weight[c], variance[c], eps), bias[c], 0, 0};
}

// out = (x - mean) * scale + shift, optionally followed by relu; channels: (x, out)
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    normalize_kernel(Channels<2> job, const Coefficients<Compute<T>>* coefficients, bool relu) {
  using Value = Compute<T>;
  const int64_t channel = job.template channel<width>(), end = job.end(), step = job.row_step();
  if (channel >= job.channels) return;
  const Several<Value, width> channels(coefficients, channel, job.channels);
  for (int64_t row = job.begin(); row < end; row += kRowsAtOnce * step) {
    Pack<T, width> packs[kRowsAtOnce];
    std::byte* at[kRowsAtOnce][2];
#pragma unroll
    for (int i = 0; i < kRowsAtOnce; ++i) {
      if (row + i * step >= end) continue;
      job.template locate<width>(row + i * step, channel, at[i]);
      packs[i] = read_pack<T, width>(at[i][0]);
    }
#pragma unroll
    for (int i = 0; i < kRowsAtOnce; ++i) {
      if (row + i * step >= end) continue;
      for (int j = 0; j < width; ++j) {
        const Value normalized = channels.of[j].normalized(static_cast<Value>(packs[i].values[j]));
        packs[i].values[j] = static_cast<T>(relu && Value{0} > normalized ? Value{0} : normalized);  // propagates NaN
      }
      write_pack(at[i][1], packs[i]);
    }
  }
}

// Writes each channel's sums of g = masked grad_out and of g * (x - mean) over part blockIdx.y of the rows of
// (x, grad_out, ...) to sums (channels, parts).
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    gradient_sums_kernel(Channels<3> job, const Coefficients<Compute<T>>* coefficients, bool relu, GradientSums* sums) {
  using Value = Compute<T>;
  const int64_t channel = job.template channel<width>(), end = job.end(), step = job.row_step();
  GradientSums total[width];
  for (int j = 0; j < width; ++j) total[j] = {0, 0};
  if (channel < job.channels) {
    const Several<Value, width> channels(coefficients, channel, job.channels);
    for (int64_t row = job.begin(); row < end;) {
      const int count = static_cast<int>(std::min((end - row + step - 1) / step, int64_t{kShortBlock}));
      Value grad_sum[width], product_sum[width];
      for (int j = 0; j < width; ++j) grad_sum[j] = product_sum[j] = 0;
#pragma unroll 4
      for (int i = 0; i < count; ++i, row += step) {
        std::byte* at[3];
        job.template locate<width>(row, channel, at);
        const auto values = read_pack<T, width>(at[0]), grads = read_pack<T, width>(at[1]);
        for (int j = 0; j < width; ++j) {
          const Value x = static_cast<Value>(values.values[j]);
          const Value g = channels.of[j].masked(static_cast<Value>(grads.values[j]), x, relu);
          grad_sum[j] += g;
          product_sum[j] += g * (x - channels.of[j].mean);
        }
      }
      for (int j = 0; j < width; ++j) JoinGradientSums{}(total[j], {grad_sum[j], product_sum[j]});
    }
  }
  join_rows(total, job.columns, JoinGradientSums{});
  if (job.row() > 0) return;
  for (int j = 0; j < width; ++j)
    if (channel + j < job.channels) sums[(channel + j) * gridDim.y + blockIdx.y] = total[j];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    parameter_gradients_kernel(const GradientSums* sums, int64_t channels, int64_t rows, int parts,
                               Parameter<T> variance, Parameter<T> grad_weight, Parameter<T> grad_bias, double eps,
                               Coefficients<Compute<T>>* coefficients) {
  using Value = Compute<T>;
  const int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  const GradientSums all = join_parts(sums, c, channels, parts, JoinGradientSums{});
  if (c >= channels || threadIdx.x % kWarp > 0) return;
  const double inverse = 1 / (static_cast<double>(variance[c]) + eps);
  grad_bias.set(c, static_cast<Value>(all.grad));
  grad_weight.set(c, static_cast<Value>(all.product * std::sqrt(inverse)));
  coefficients[c].grad_mean = static_cast<Value>(all.grad / rows);
  coefficients[c].slope = static_cast<Value>(all.product * inverse / rows);
}

// grad_x = scale * (g - mean(g) - (x - mean) * slope); channels: (x, grad_out, grad_x)
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(Channels<3> job, const Coefficients<Compute<T>>* coefficients, bool relu) {
  using Value = Compute<T>;
  const int64_t channel = job.template channel<width>(), end = job.end(), step = job.row_step();
  if (channel >= job.channels) return;
  const Several<Value, width> channels(coefficients, channel, job.channels);
  for (int64_t row = job.begin(); row < end; row += kRowsAtOnce * step) {
    Pack<T, width> values[kRowsAtOnce], grads[kRowsAtOnce];
    std::byte* at[kRowsAtOnce][3];
#pragma unroll
    for (int i = 0; i < kRowsAtOnce; ++i) {
      if (row + i * step >= end) continue;
      job.template locate<width>(row + i * step, channel, at[i]);
      values[i] = read_pack<T, width>(at[i][0]);
      grads[i] = read_pack<T, width>(at[i][1]);
    }
#pragma unroll
    for (int i = 0; i < kRowsAtOnce; ++i) {
      if (row + i * step >= end) continue;
      for (int j = 0; j < width; ++j) {
        const Coefficients<Value>& c = channels.of[j];
        const Value x = static_cast<Value>(values[i].values[j]);
        const Value g = c.masked(static_cast<Value>(grads[i].values[j]), x, relu);
        grads[i].values[j] = static_cast<T>(c.scale * (g - c.grad_mean - (x - c.mean) * c.slope));
      }
      write_pack(at[i][2], grads[i]);
    }
  }
}

}  // namespace

void batch_norm(const Array& x, const Array& weight, const Array& bias, const ArrayList& running, const Array& out,
                const Array& mean, const Array& variance, double eps, double momentum, bool relu) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto running_at = [&](int64_t i) { return running.count > 0 ? Parameter<T>(running[i]) : Parameter<T>(); };
    for_channels<T>({&x, &out}, [&](const Channels<2>& job, dim3 grid, bool packed) {
      constexpr int width = kChannelWidth<T>;
      const int parts = static_cast<int>(grid.y);
      const Scratch<Moments> moments(job.channels * parts);
      const Scratch<Coefficients<Compute<T>>> coefficients(job.channels);
      launch(packed ? moments_kernel<T, width, 2> : moments_kernel<T, 1, 2>, grid, kThreads, job, moments.data());
      launch(statistics_kernel<T>, blocks_of_warps(job.channels), kThreads, moments.data(), job.channels, parts,
             Parameter<T>(weight), Parameter<T>(bias), Parameter<T>(mean), Parameter<T>(variance), running_at(0),
             running_at(1), eps, static_cast<Compute<T>>(momentum), coefficients.data());
      launch(packed ? normalize_kernel<T, width> : normalize_kernel<T, 1>, grid, kThreads, job, coefficients.data(),
             relu);
    });
  });
}

void batch_norm_inference(const Array& x, const Array& weight, const Array& bias, const Array& mean,
                          const Array& variance, const Array& out, double eps, bool relu) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_channels<T>({&x, &out}, [&](const Channels<2>& job, dim3 grid, bool packed) {
      const Scratch<Coefficients<Compute<T>>> coefficients(job.channels);
      launch(coefficients_kernel<T>, blocks_of_threads(job.channels), kThreads, job.channels, Parameter<T>(weight),
             Parameter<T>(bias), Parameter<T>(mean), Parameter<T>(variance), eps, coefficients.data());
      launch(packed ? normalize_kernel<T, kChannelWidth<T>> : normalize_kernel<T, 1>, grid, kThreads, job,
             coefficients.data(), relu);
    });
  });
}

// With x_hat = (x - mean) / sqrt(variance + eps), g = grad_out (with relu: x_hat weight + bias <= 0 ? 0 : grad_out),
// and sums over the n rows:
//     grad_bias = sum(g),   grad_weight = sum(g x_hat)
//     grad_x = weight / sqrt(variance + eps) (g - grad_bias / n - x_hat grad_weight / n)
void batch_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& bias,
                         const Array& mean, const Array& variance, const Array& grad_x, const Array& grad_weight,
                         const Array& grad_bias, double eps, bool relu) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_channels<T>({&x, &grad_out, &grad_x}, [&](const Channels<3>& job, dim3 grid, bool packed) {
      constexpr int width = kChannelWidth<T>;
      const int parts = static_cast<int>(grid.y);
      const Scratch<GradientSums> sums(job.channels * parts);
      const Scratch<Coefficients<Compute<T>>> coefficients(job.channels);
      launch(coefficients_kernel<T>, blocks_of_threads(job.channels), kThreads, job.channels, Parameter<T>(weight),
             Parameter<T>(bias), Parameter<T>(mean), Parameter<T>(variance), eps, coefficients.data());
      launch(packed ? gradient_sums_kernel<T, width> : gradient_sums_kernel<T, 1>, grid, kThreads, job,
             coefficients.data(), relu, sums.data());
      launch(parameter_gradients_kernel<T>, blocks_of_warps(job.channels), kThreads, sums.data(), job.channels,
             job.rows, parts, Parameter<T>(variance), Parameter<T>(grad_weight), Parameter<T>(grad_bias), eps,
             coefficients.data());
      launch(packed ? gradient_kernel<T, width> : gradient_kernel<T, 1>, grid, kThreads, job, coefficients.data(),
             relu);
    });
  });
}

}  // namespace needle::cuda
