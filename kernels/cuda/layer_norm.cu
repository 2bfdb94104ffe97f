// Layer normalization along the last axis of x (..., C): Ba, Kiros and Hinton 2016.
//
// 1 to 1,024 threads compute a row and hold it in registers (rows.h). It is read once if C is at most 16,384 (backward
// 8,192; float64 4,096), else three times. Each thread adds 16 values, then these sums are added in pairs: rows are
// short enough to do that in float32.
//
// Bound: memory. Forward reads x and writes out; expected is some 85% of the memory bandwidth from 1,000 rows on.
// Backward reads x and grad_out and writes grad_x, then reads both again for the parameter gradients, which are sums
// over the other axis: expected is 60% of the speed that reading once would allow.
#include <cmath>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/rows.h"

namespace needle::cuda {
namespace {

struct JoinSum {
  template <class Value>
  __device__ void operator()(Value& left, Value right) const {
    left += right;
  }
};

// The mean over a row of value(i, c), computed from a thread's i-th registers, which hold channel c after
// load(first channel of a tile). If a row is one tile, the caller must have called load before.
template <class T, int width, int arrays, class Load, class Function>
__device__ Compute<T> row_mean(const Rows<arrays>& rows, const typename Rows<arrays>::Place& place, const Load& load,
                               const Function& value) {
  using Value = Compute<T>;
  Value sum = 0;
  for (int64_t first = 0; first < rows.channels; first += rows.tile) {
    if (!rows.is_one_tile()) load(first);
    Value part = 0;
    if (place.exists)
      Tile<T, width>::for_each(first, rows.channels, rows.lanes, place.lane,
                               [&](int i, int64_t c) { part += value(i, c); });
    sum += part;
  }
  return join_lanes(sum, rows.lanes, JoinSum{}) / static_cast<Value>(rows.channels);
}

// rows: (x, out, mean, variance)
template <class T, int width>
__global__ void __launch_bounds__(kMostLanes<T>)
    layer_norm_kernel(Rows<4> rows, Parameter<T> weight, Parameter<T> bias, Parameter<T> stored_mean,
                      Parameter<T> stored_variance, double eps) {
  using Value = Compute<T>;
  const auto place = rows.place();
  Tile<T, width> tile;
  const auto load = [&](int64_t first) {
    tile.load(place.at[0], rows.step[0], first, place.exists ? rows.channels : 0, rows.lanes, place.lane, 0);
  };
  if (rows.is_one_tile()) load(0);
  const Value mean = row_mean<T, width>(rows, place, load, [&](int i, int64_t) { return tile.values[i]; });
  const Value variance = row_mean<T, width>(
      rows, place, load, [&](int i, int64_t) { return (tile.values[i] - mean) * (tile.values[i] - mean); });
  if (!place.exists) return;
  const Value scale = static_cast<Value>(1 / std::sqrt(static_cast<double>(variance) + eps));
  for (int64_t first = 0; first < rows.channels; first += rows.tile) {
    if (!rows.is_one_tile()) load(first);
    tile.store(place.at[1], rows.step[1], first, rows.channels, rows.lanes, place.lane,
               [&](Value x, int64_t c) { return (x - mean) * scale * weight[c] + bias[c]; });
  }
  if (place.lane > 0) return;
  stored_mean.write(place.at[2], mean);
  stored_variance.write(place.at[3], variance);
}

constexpr int kGradientLanes = 512;  // threads hold two values per element

// With x_hat = (x - mean) / sqrt(variance + eps), g = grad_out * weight, and means taken along the row:
//     grad_x = (g - mean(g) - x_hat mean(g x_hat)) / sqrt(variance + eps)
// rows: (x, grad_out, mean, variance, grad_x)
template <class T, int width>
__global__ void __launch_bounds__(kGradientLanes, width > 1 && sizeof(T) < 8 ? 2 : 1)  // 2: 64 registers per thread
    layer_norm_gradient_kernel(Rows<5> rows, Parameter<T> weight, Parameter<T> stored_mean,
                               Parameter<T> stored_variance, double eps) {
  using Value = Compute<T>;
  const auto place = rows.place();
  const Value mean = place.exists ? stored_mean.read(place.at[2]) : Value{0};
  const Value variance = place.exists ? stored_variance.read(place.at[3]) : Value{0};
  const Value inverse_std = static_cast<Value>(1 / std::sqrt(static_cast<double>(variance) + eps));
  Tile<T, width> x_hat, g;
  const auto load = [&](int64_t first) {
    const int64_t channels = place.exists ? rows.channels : 0;
    x_hat.load(place.at[0], rows.step[0], first, channels, rows.lanes, place.lane, 0);
    g.load(place.at[1], rows.step[1], first, channels, rows.lanes, place.lane, 0);
    Tile<T, width>::for_each(first, channels, rows.lanes, place.lane, [&](int i, int64_t c) {
      x_hat.values[i] = (x_hat.values[i] - mean) * inverse_std;
      g.values[i] *= weight[c];
    });
  };
  if (rows.is_one_tile()) load(0);
  const Value mean_g = row_mean<T, width>(rows, place, load, [&](int i, int64_t) { return g.values[i]; });
  // mean(g x_hat) is computed as mean((g - mean(g)) x_hat), which is equal because x_hat has mean 0
  const Value mean_product =
      row_mean<T, width>(rows, place, load, [&](int i, int64_t) { return (g.values[i] - mean_g) * x_hat.values[i]; });
  if (!place.exists) return;
  for (int64_t first = 0; first < rows.channels; first += rows.tile) {
    if (!rows.is_one_tile()) load(first);
#pragma unroll
    for (int i = 0; i < kHeld<T>; ++i)
      g.values[i] = (g.values[i] - mean_g - x_hat.values[i] * mean_product) * inverse_std;
    g.store(place.at[4], rows.step[4], first, rows.channels, rows.lanes, place.lane,
            [](Value x, int64_t) { return x; });
  }
}

// Writes each channel's sums of grad_out and of grad_out x_hat over part blockIdx.y of the rows of
// (x, grad_out, mean, variance) to sums (channels, parts).
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    parameter_sums_kernel(Channels<4> job, Parameter<T> stored_mean, Parameter<T> stored_variance, double eps,
                          GradientSums* sums) {
  using Value = Compute<T>;
  const int64_t channel = job.template channel<width>(), end = job.end(), step = job.row_step();
  GradientSums total[width];
  for (int j = 0; j < width; ++j) total[j] = {0, 0};
  if (channel < job.channels) {
    for (int64_t row = job.begin(); row < end;) {
      const int count = static_cast<int>(std::min((end - row + step - 1) / step, int64_t{kShortBlock}));
      Value grad_sum[width], product_sum[width];
      for (int j = 0; j < width; ++j) grad_sum[j] = product_sum[j] = 0;
#pragma unroll 4
      for (int i = 0; i < count; ++i, row += step) {
        std::byte* at[4];
        job.template locate<width>(row, channel, at);
        const auto values = read_pack<T, width>(at[0]), grads = read_pack<T, width>(at[1]);
        const Value mean = stored_mean.read(at[2]);
        const Value inverse_std = 1 / std::sqrt(stored_variance.read(at[3]) + static_cast<Value>(eps));
        for (int j = 0; j < width; ++j) {
          const Value grad = static_cast<Value>(grads.values[j]);
          product_sum[j] += grad * ((static_cast<Value>(values.values[j]) - mean) * inverse_std);
          grad_sum[j] += grad;
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

// With zero rows there are no parts, and the sums are 0.
template <class T>
__global__ void __launch_bounds__(kThreads)
    parameter_gradients_kernel(const GradientSums* sums, int64_t channels, int parts, Parameter<T> grad_weight,
                               Parameter<T> grad_bias) {
  const int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
  const GradientSums all = join_parts(sums, c, channels, parts, JoinGradientSums{});
  if (c >= channels || threadIdx.x % kWarp > 0) return;
  grad_weight.set(c, static_cast<Compute<T>>(all.product));
  grad_bias.set(c, static_cast<Compute<T>>(all.grad));
}

}  // namespace

void layer_norm(const Array& x, const Array& weight, const Array& bias, const Array& out, const Array& mean,
                const Array& variance, double eps) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rows<T>({&x, &out, &mean, &variance}, [&](const Rows<4>& rows, unsigned grid, unsigned block, bool packed) {
      launch(packed ? layer_norm_kernel<T, kPackWidth<T>> : layer_norm_kernel<T, 1>, grid, block, rows,
             Parameter<T>(weight), Parameter<T>(bias), Parameter<T>(mean), Parameter<T>(variance), eps);
    });
  });
}

void layer_norm_backward(const Array& grad_out, const Array& x, const Array& weight, const Array& mean,
                         const Array& variance, const Array& grad_x, const Array& grad_weight, const Array& grad_bias,
                         double eps) {
  dispatch_floating(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Parameter<T> means(mean), variances(variance);
    const int64_t channels = last_extent(x);
    for_rows<T, kGradientLanes>({&x, &grad_out, &mean, &variance, &grad_x}, [&](const Rows<5>& rows, unsigned grid,
                                                                                unsigned block, bool packed) {
      launch(packed ? layer_norm_gradient_kernel<T, kPackWidth<T>> : layer_norm_gradient_kernel<T, 1>, grid, block,
             rows, Parameter<T>(weight), means, variances, eps);
    });
    const auto write_gradients = [&](const GradientSums* sums, int parts) {
      launch(parameter_gradients_kernel<T>, blocks_of_warps(channels), kThreads, sums, channels, parts,
             Parameter<T>(grad_weight), Parameter<T>(grad_bias));
    };
    if (row_count(x) == 0) return write_gradients(nullptr, 0);
    for_channels<T>({&x, &grad_out, &mean, &variance}, [&](const Channels<4>& job, dim3 grid, bool packed) {
      const Scratch<GradientSums> sums(channels * grid.y);
      launch(packed ? parameter_sums_kernel<T, kChannelWidth<T>> : parameter_sums_kernel<T, 1>, grid, kThreads, job,
             means, variances, eps, sums.data());
      write_gradients(sums.data(), static_cast<int>(grid.y));
    });
  });
}

}  // namespace needle::cuda
