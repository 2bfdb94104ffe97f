// Batch and layer normalization against their formulas in float64.
#include <cmath>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Layout;
using testing::Random;
using testing::Shape;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

constexpr double kEps = 1e-3, kMomentum = 0.3;
const std::vector<Array> kNoRunning;

// One matrix (rows, channels) and what normalizes each of its columns (batch norm) or rows (layer norm).
struct Reference {
  int64_t rows, channels;
  bool by_row;  // layer norm
  Values x, weight, bias;

  size_t group(int64_t r, int64_t c) const { return by_row ? r : c; }
  size_t groups() const { return by_row ? rows : channels; }
  double group_size() const { return static_cast<double>(by_row ? channels : rows); }

  Values mean_of(const Values& v) const {
    Values sums(groups(), 0);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c) sums[group(r, c)] += v[r * channels + c] / group_size();
    return sums;
  }
  Values variance(const Values& mean) const {
    Values squares = x;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c)
        squares[r * channels + c] = std::pow(x[r * channels + c] - mean[group(r, c)], 2);
    return mean_of(squares);
  }
  Values normalized(const Values& mean, const Values& variance) const {
    Values result = x;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c)
        result[r * channels + c] = (x[r * channels + c] - mean[group(r, c)]) / std::sqrt(variance[group(r, c)] + kEps);
    return result;
  }
  Values out(const Values& mean, const Values& variance) const {
    Values result = normalized(mean, variance);
    for (size_t i = 0; i < result.size(); ++i) result[i] = result[i] * weight[i % channels] + bias[i % channels];
    return result;
  }
  // grad_x, grad_weight and grad_bias
  void backward(const Values& grad, const Values& mean, const Values& variance, Values& grad_x, Values& grad_weight,
                Values& grad_bias) const {
    const Values x_hat = normalized(mean, variance);
    grad_weight.assign(channels, 0), grad_bias.assign(channels, 0);
    Values g = grad, products = grad;
    for (size_t i = 0; i < grad.size(); ++i) {
      grad_weight[i % channels] += grad[i] * x_hat[i];
      grad_bias[i % channels] += grad[i];
      g[i] = grad[i] * weight[i % channels];
      products[i] = g[i] * x_hat[i];
    }
    const Values mean_g = mean_of(g), mean_product = mean_of(products);
    grad_x = grad;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < channels; ++c) {
        const size_t i = r * channels + c, k = group(r, c);
        grad_x[i] = (g[i] - mean_g[k] - x_hat[i] * mean_product[k]) / std::sqrt(variance[k] + kEps);
      }
  }
};

Reference reference_of(const Array& x, const Array& weight, const Array& bias, bool by_row) {
  const int64_t channels = x.shape[x.ndim - 1];
  return {x.size() / channels, channels, by_row, values(x), values(weight), values(bias)};
}

double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-12 : dtype == DType::float32 ? 2e-5 : 4 * testing::epsilon(dtype);
}

// Every floating dtype and layout, both norms, forward and backward. Parameters of a half type may be float32. Batch
// norm also updates running statistics; the other tests call it without them.
void check_norm(bool by_row) {
  testing::for_each_level([&](const Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kFloatingDTypes)
      for (const Shape& shape : {Shape{1, 3}, Shape{5, 1}, Shape{40, 17}, Shape{3, 9, 600}, Shape{2, 30, 31, 64}})
        for (Layout layout : testing::kWritableLayouts) {
          const DType stored = dtype > DType::float64 && layout == Layout::permuted ? DType::float32 : dtype;
          const Array x = strided(dtype, shape, layout),
                      grad = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]),
                      out = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
          const auto parameter = [&] {
            const Array a = strided(stored, {shape.back()}, testing::kWritableLayouts[random.integer(0, 3)]);
            random.fill(a);
            return a;
          };
          const Array weight = parameter(), bias = parameter(), grad_weight = parameter(), grad_bias = parameter();
          const Shape leading(shape.begin(), shape.end() - 1);
          const Array mean = by_row ? strided(stored, leading, layout) : parameter();
          const Array variance = by_row ? compact(stored, leading) : parameter();
          random.fill(x);
          random.fill(grad);
          const Reference reference = reference_of(x, weight, bias, by_row);
          const Values exact_mean = reference.mean_of(reference.x), exact_variance = reference.variance(exact_mean);
          const double near = tolerance(dtype);
          const std::vector<Array> running = {parameter(), parameter()};
          const Values before[] = {values(running[0]), values(running[1])};

          if (by_row)
            kernels.layer_norm(x, weight, bias, out, mean, variance, kEps);
          else
            kernels.batch_norm(x, weight, bias, running, out, mean, variance, kEps, kMomentum, false);
          EXPECT_NEAR("mean", values(mean), exact_mean, near, near);
          EXPECT_NEAR("variance", values(variance), exact_variance, near, near);
          EXPECT_NEAR("out", values(out), reference.out(exact_mean, exact_variance), 8 * near, 8 * near);
          if (!by_row) {
            const Values* statistics[] = {&exact_mean, &exact_variance};
            for (int k : {0, 1}) {
              Values expected = before[k];
              for (size_t c = 0; c < expected.size(); ++c)
                expected[c] += kMomentum * ((*statistics[k])[c] - expected[c]);
              EXPECT_NEAR("running", values(running[k]), expected, near, near);
            }
            kernels.batch_norm_inference(x, weight, bias, mean, variance, out, kEps, false);
            EXPECT_NEAR("inference", values(out), reference.out(values(mean), values(variance)), 8 * near, 8 * near);
          }
          if (by_row)
            kernels.layer_norm_backward(grad, x, weight, mean, variance, out, grad_weight, grad_bias, kEps);
          else
            kernels.batch_norm_backward(grad, x, weight, bias, mean, variance, out, grad_weight, grad_bias, kEps,
                                        false);
          Values grad_x, weight_grads, bias_grads;
          reference.backward(values(grad), values(mean), values(variance), grad_x, weight_grads, bias_grads);
          const double rows = static_cast<double>(reference.rows), sums = near * std::sqrt(rows);
          EXPECT_NEAR("grad_x", values(out), grad_x, 100 * near, 100 * near);
          EXPECT_NEAR("grad_weight", values(grad_weight), weight_grads, 8 * near, 8 * sums);
          EXPECT_NEAR("grad_bias", values(grad_bias), bias_grads, 8 * near, 8 * sums);
        }
  });
}

TEST(batch_norm) { check_norm(false); }
TEST(layer_norm) { check_norm(true); }

// Forward and backward like batch norm and a ReLU one after the other. Values near 0, where rounding decides which side
// they are on, get no gradient.
TEST(batch_norm_and_relu) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(4);
    for (DType dtype : testing::kFloatingDTypes)
      for (const Shape& shape : {Shape{1, 3}, Shape{40, 17}, Shape{3, 9, 600}, Shape{2, 30, 31, 64}})
        for (Layout layout : testing::kWritableLayouts) {
          const Array x = strided(dtype, shape, layout), out = strided(dtype, shape, layout),
                      grad = compact(dtype, shape), masked = compact(dtype, shape), expected = compact(dtype, shape);
          const auto parameter = [&] {
            const Array a = compact(dtype, {shape.back()});
            random.fill(a);
            return a;
          };
          const Array weight = parameter(), bias = parameter(), mean = parameter(), variance = parameter();
          random.fill(x);
          random.fill(grad);
          kernels.batch_norm(x, weight, bias, kNoRunning, expected, mean, variance, kEps, kMomentum, false);
          kernels.batch_norm(x, weight, bias, kNoRunning, out, mean, variance, kEps, kMomentum, true);
          Values positive = values(expected);
          for (double& number : positive) number = std::max(number, 0.0);
          EXPECT_NEAR("out", values(out), positive, 0, 0);

          kernels.batch_norm_inference(x, weight, bias, mean, variance, expected, kEps, false);
          kernels.batch_norm_inference(x, weight, bias, mean, variance, out, kEps, true);
          positive = values(expected);  // by the statistics as they are stored, which the gradient is of
          Values grads = values(grad), masked_grads = grads;
          for (size_t i = 0; i < positive.size(); ++i) {
            if (std::fabs(positive[i]) < 1e-4) grads[i] = 0;
            positive[i] = std::max(positive[i], 0.0);
            masked_grads[i] = positive[i] > 0 ? grads[i] : 0;
          }
          EXPECT_NEAR("inference", values(out), positive, 0, 0);

          size_t at = 0;
          testing::fill(grad, [&] { return grads[at++]; });
          at = 0;
          testing::fill(masked, [&] { return masked_grads[at++]; });
          const Array weight_grads[] = {parameter(), parameter()}, bias_grads[] = {parameter(), parameter()};
          kernels.batch_norm_backward(masked, x, weight, bias, mean, variance, expected, weight_grads[0], bias_grads[0],
                                      kEps, false);
          kernels.batch_norm_backward(grad, x, weight, bias, mean, variance, out, weight_grads[1], bias_grads[1], kEps,
                                      true);
          EXPECT_NEAR("grad_x", values(out), values(expected), 0, 0);
          EXPECT_NEAR("grad_weight", values(weight_grads[1]), values(weight_grads[0]), 0, 0);
          EXPECT_NEAR("grad_bias", values(bias_grads[1]), values(bias_grads[0]), 0, 0);
        }
  });
}

// A mean a million times the deviation leaves a float32 few digits to work with: none may be lost on the way.
TEST(statistics_survive_a_large_mean) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(2);
    const int64_t rows = 50000, channels = 5;
    const Array x = compact(DType::float32, {rows, channels}), out = compact(DType::float32, {rows, channels}),
                parameter = compact(DType::float32, {channels}), mean = compact(DType::float32, {channels}),
                variance = compact(DType::float32, {channels});
    testing::fill(parameter, [] { return 1.0; });
    testing::fill(x, [&] { return 1e4 + 0.01 * random.normal(); });
    x.data<float>()[0] = -1e4f;  // an outlier in front, where a single shift would be taken from
    const Reference reference = reference_of(x, parameter, parameter, false);
    const Values exact_mean = reference.mean_of(reference.x);
    kernels.batch_norm(x, parameter, parameter, kNoRunning, out, mean, variance, kEps, kMomentum, false);
    EXPECT_NEAR("mean", values(mean), exact_mean, 1e-7);
    EXPECT_NEAR("variance", values(variance), reference.variance(exact_mean), 1e-5);
  });
}

// One row or many, the infinity in front or not.
TEST(statistics_of_infinity_are_nan) {
  testing::for_each_level([](const Kernels& kernels) {
    for (int64_t rows : {1, 2, 70})
      for (int64_t at : {int64_t{0}, rows - 1}) {
        const Array x = compact(DType::float32, {rows, 1}), out = compact(DType::float32, {rows, 1}),
                    one = compact(DType::float32, {1}), mean = compact(DType::float32, {1}),
                    variance = compact(DType::float32, {1});
        testing::fill(one, [] { return 1.0; });
        testing::fill(x, [] { return 1.0; });
        x.data<float>()[at] = INFINITY;
        kernels.batch_norm(x, one, one, kNoRunning, out, mean, variance, kEps, kMomentum, false);
        EXPECT(std::isnan(*variance.data<float>()));
        for (double value : values(out)) EXPECT(std::isnan(value));
      }
  });
}

TEST(threads_do_not_change_results) {
  Random random(3);
  const Array x = compact(DType::float32, {3000, 70}), out = compact(DType::float32, {3000, 70}),
              grad_x = compact(DType::float32, {3000, 70}), parameter = compact(DType::float32, {70}),
              mean = compact(DType::float32, {70}), variance = compact(DType::float32, {70}),
              grad_weight = compact(DType::float32, {70}), grad_bias = compact(DType::float32, {70});
  random.fill(x);
  random.fill(parameter);
  const Kernels& kernels = cpu::kernels(highest_level());
  for (bool relu : {false, true}) {
    const auto result = [&] {
      kernels.batch_norm(x, parameter, parameter, kNoRunning, out, mean, variance, kEps, kMomentum, relu);
      kernels.batch_norm_backward(out, x, parameter, parameter, mean, variance, grad_x, grad_weight, grad_bias, kEps,
                                  relu);
      Values all = values(out);
      for (const Array* array : {&grad_x, &grad_weight, &grad_bias})
        for (double number : values(*array)) all.push_back(number);
      return all;
    };
    EXPECT_SAME_WITH_THREADS(result, 1, 2, 5);
  }
}

TEST(mistakes_are_named) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array x = compact(DType::float32, {4, 3}), c = compact(DType::float32, {3}), r = compact(DType::float32, {4}),
              wrong = compact(DType::float64, {3}), none = compact(DType::float32, {0, 3}),
              thin = compact(DType::float32, {4, 0}), zero = compact(DType::float32, {0}),
              scalar = compact(DType::float32, {});
  EXPECT_THROW(ShapeError, "batch_norm: bias has shape (4,), expected (3,)",
               check::batch_norm(x, c, r, kNoRunning, x, c, c, kEps, kMomentum, false));
  EXPECT_THROW(DTypeError, "batch_norm: weight is float64 and x is float32",
               check::batch_norm(x, wrong, c, kNoRunning, x, c, c, kEps, kMomentum, false));
  EXPECT_THROW(ShapeError, "batch_norm: x has shape (0, 3), expected at least one row",
               check::batch_norm(none, c, c, kNoRunning, none, c, c, kEps, kMomentum, false));
  const auto running = [](const Array& a, const Array& b) { return std::vector<Array>{a, b}; };
  EXPECT_THROW(ShapeError, "batch_norm: 1 arrays for running, expected none or a mean and a variance",
               check::batch_norm(x, c, c, std::vector<Array>{c}, x, c, c, kEps, kMomentum, false));
  EXPECT_THROW(ShapeError, "batch_norm: running mean has shape (4,), expected (3,)",
               check::batch_norm(x, c, c, running(r, c), x, c, c, kEps, kMomentum, false));
  EXPECT_THROW(DTypeError, "batch_norm: running variance is float64 and x is float32",
               check::batch_norm(x, c, c, running(c, wrong), x, c, c, kEps, kMomentum, false));
  EXPECT_THROW(ShapeError, "batch_norm_backward: bias has shape (4,), expected (3,)",
               check::batch_norm_backward(x, x, c, r, c, c, x, c, c, kEps, true));
  EXPECT_THROW(ShapeError, "layer_norm: x has shape (4, 0)", check::layer_norm(thin, zero, zero, thin, r, r, kEps));
  EXPECT_THROW(ShapeError, "layer_norm: mean has shape (3,)", check::layer_norm(x, c, c, x, c, r, kEps));
  EXPECT_THROW(ShapeError, "layer_norm: x has shape ()", check::layer_norm(scalar, c, c, scalar, c, c, kEps));
  kernels.batch_norm(thin, zero, zero, kNoRunning, thin, zero, zero, kEps, kMomentum,
                     false);                                          // no channels: nothing to do
  kernels.batch_norm_inference(none, c, c, c, c, none, kEps, false);  // no rows, and none needed
}

TEST(rows_without_channels) {
  const Array x = compact(DType::float32, {200000, 0}), c = compact(DType::float32, {0});
  testing::for_each_level([&](const Kernels& kernels) {
    kernels.batch_norm(x, c, c, kNoRunning, x, c, c, 0.1, kMomentum, false);
    kernels.batch_norm_inference(x, c, c, c, c, x, 0.1, false);
    kernels.batch_norm_backward(x, x, c, c, c, c, x, c, c, 0.1, false);
  });
}

}  // namespace
}  // namespace needle
