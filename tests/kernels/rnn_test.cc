// Recurrent layers against their formulas in float64, and on one thread against several.
#include <cmath>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Layout;
using testing::Random;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

double sigmoid(double a) { return 1 / (1 + std::exp(-a)); }

// The sums a[r][j] = gates + h W_hh + bias of one step; h (rows, units), gates (rows, width).
Values step_sums(const double* gates, const double* h, const Values& W_hh, const Values& bias, int64_t rows,
                 int64_t units, int64_t width) {
  Values sums(gates, gates + rows * width);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t u = 0; u < units; ++u) sums[r * width + j] += h[r * units + u] * W_hh[u * width + j];
      sums[r * width + j] += bias[j];
    }
  return sums;
}

// Of what the forward and backward kernels write, for operands of one set of sizes.
struct Sizes {
  int64_t steps, rows, units;
};
// Units over and under a register, more rows than a block of gemm.h, more units than its depth.
constexpr Sizes kSizes[] = {{1, 1, 1}, {3, 2, 5}, {2, 0, 4}, {4, 13, 70}, {2, 200, 9}, {2, 20, 270}};

void fill_small(const Array& a, Random& random, double scale) {
  testing::fill(a, [&] { return scale * random.normal(); });
}

double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-12 : dtype == DType::float32 ? 1e-5 : 4 * testing::epsilon(dtype);
}

TEST(rnn_follows_its_formula) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kFloatingDTypes)
      for (const auto& [steps, rows, units] : kSizes)
        for (bool relu : {false, true}) {
          const Layout layout = testing::kLayouts[random.integer(0, 4)];
          const Layout written = testing::kWritableLayouts[random.integer(0, 3)];
          const Array gates = strided(dtype, {steps, rows, units}, layout),
                      W_hh = strided(dtype, {units, units}, layout), bias = strided(dtype, {units}, layout),
                      hidden = strided(dtype, {steps + 1, rows, units}, written);
          fill_small(gates, random, 1);
          fill_small(W_hh, random, 0.5 / std::sqrt(units));
          fill_small(bias, random, 1);
          fill_small(hidden, random, 1);
          const Values x = values(gates), w = values(W_hh), b = values(bias);
          Values expected = values(hidden);
          for (int64_t t = 0; t < steps; ++t) {
            const int64_t size = rows * units;
            const Values a = step_sums(x.data() + t * size, expected.data() + t * size, w, b, rows, units, units);
            for (int64_t i = 0; i < size; ++i)
              expected[(t + 1) * size + i] = relu ? std::fmax(a[i], 0) : std::tanh(a[i]);
          }
          kernels.rnn(gates, W_hh, bias, hidden, relu);
          EXPECT_NEAR("hidden", values(hidden), expected, tolerance(dtype), tolerance(dtype));
        }
  });
}

TEST(lstm_follows_its_formula) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(2);
    for (DType dtype : testing::kFloatingDTypes)
      for (const auto& [steps, rows, units] : kSizes) {
        const Layout layout = testing::kLayouts[random.integer(0, 4)];
        const Layout written = testing::kWritableLayouts[random.integer(0, 3)];
        const int64_t width = 4 * units, size = rows * units;
        const Array gates = strided(dtype, {steps, rows, width}, written),
                    W_hh = strided(dtype, {units, width}, layout), bias = strided(dtype, {width}, layout),
                    hidden = strided(dtype, {steps + 1, rows, units}, written),
                    cells = strided(dtype, {steps + 1, rows, units}, written);
        fill_small(gates, random, 1);
        fill_small(W_hh, random, 0.5 / std::sqrt(units));
        fill_small(bias, random, 1);
        fill_small(hidden, random, 1);
        fill_small(cells, random, 1);
        const Values w = values(W_hh), b = values(bias);
        Values gate = values(gates), h = values(hidden), c = values(cells);
        for (int64_t t = 0; t < steps; ++t) {
          double* const step = gate.data() + t * rows * width;
          const Values a = step_sums(step, h.data() + t * size, w, b, rows, units, width);
          for (int64_t i = 0; i < size; ++i) {
            const int64_t at = i / units * width + i % units;
            const double input = sigmoid(a[at]), forget = sigmoid(a[at + units]),
                         candidate = std::tanh(a[at + 2 * units]), output = sigmoid(a[at + 3 * units]);
            const double cell = forget * c[t * size + i] + input * candidate;
            step[at] = input, step[at + units] = forget;
            step[at + 2 * units] = candidate, step[at + 3 * units] = output;
            c[(t + 1) * size + i] = cell;
            h[(t + 1) * size + i] = output * std::tanh(cell);
          }
        }
        kernels.lstm(gates, W_hh, bias, hidden, cells);
        const double near = tolerance(dtype);
        EXPECT_NEAR("gates", values(gates), gate, near, near);
        EXPECT_NEAR("hidden", values(hidden), h, near, near);
        EXPECT_NEAR("cells", values(cells), c, near, near);
      }
  });
}

// The backward kernels against central differences, in float64, of a weighted sum of what the forward kernels write.
TEST(backward_kernels_are_the_derivatives) {
  constexpr int64_t kSteps = 3, kRows = 2, kUnits = 5;
  constexpr double kStep = 1e-5;
  testing::for_each_level([](const Kernels& kernels) {
    Random random(3);
    const auto random_array = [&](const testing::Shape& shape) {
      const Array a = compact(DType::float64, shape);
      fill_small(a, random, 0.7);
      return a;
    };
    for (int gates_per_unit : {1, 4}) {
      const bool is_lstm = gates_per_unit == 4;
      const int64_t width = gates_per_unit * kUnits;
      const Array x = random_array({kSteps, kRows, width}), W_hh = random_array({kUnits, width}),
                  bias = random_array({width}), h0 = random_array({kRows, kUnits}), c0 = random_array({kRows, kUnits}),
                  grad_hidden = random_array({kSteps, kRows, kUnits}), grad_cell = random_array({kRows, kUnits});
      const Array gates = random_array({kSteps, kRows, width}), hidden = random_array({kSteps + 1, kRows, kUnits}),
                  cells = random_array({kSteps + 1, kRows, kUnits});
      const int64_t size = kRows * kUnits;
      const auto copy_values = [](const Array& from, const Array& to) {
        for (int64_t i = 0; i < from.size(); ++i) to.data<double>()[i] = from.data<double>()[i];
      };
      const auto forward = [&] {
        copy_values(x, gates);
        copy_values(h0, hidden);
        copy_values(c0, cells);
        is_lstm ? kernels.lstm(gates, W_hh, bias, hidden, cells) : kernels.rnn(gates, W_hh, bias, hidden, false);
        double sum = 0;
        for (int64_t i = 0; i < kSteps * size; ++i)
          sum += hidden.data<double>()[size + i] * grad_hidden.data<double>()[i];
        for (int64_t i = 0; is_lstm && i < size; ++i)
          sum += cells.data<double>()[kSteps * size + i] * grad_cell.data<double>()[i];
        return sum;
      };
      const auto differences = [&](const Array& a) {
        Values result;
        for (int64_t i = 0; i < a.size(); ++i) {
          double& element = a.data<double>()[i];
          const double before = element;
          element = before + kStep;
          const double above = forward();
          element = before - kStep;
          result.push_back((above - forward()) / (2 * kStep));
          element = before;
        }
        return result;
      };
      const Values of_x = differences(x), of_h0 = differences(h0), of_c0 = differences(c0);
      forward();
      const Array grad_gates = random_array({kSteps, kRows, width}), grad_h0 = random_array({kRows, kUnits}),
                  grad_c0 = random_array({kRows, kUnits});
      if (is_lstm) {
        kernels.lstm_backward(grad_hidden, grad_cell, gates, cells, W_hh, grad_gates, grad_h0, grad_c0);
        EXPECT_NEAR("grad_c0", values(grad_c0), of_c0, 1e-7, 1e-8);
      } else {
        kernels.rnn_backward(grad_hidden, hidden, W_hh, grad_gates, grad_h0, false);
      }
      EXPECT_NEAR("grad_gates", values(grad_gates), of_x, 1e-7, 1e-8);
      EXPECT_NEAR("grad_h0", values(grad_h0), of_h0, 1e-7, 1e-8);
    }
  });
}

TEST(threads_do_not_change_a_bit) {
  constexpr int64_t kSteps = 4, kRows = 14, kUnits = 170;  // enough for four threads, no multiple of a register
  testing::for_each_level([](const Kernels& kernels) {
    const auto results = [&] {
      Random random(4);
      const auto random_array = [&](const testing::Shape& shape) {
        const Array a = compact(DType::float32, shape);
        fill_small(a, random, 0.1);
        return a;
      };
      const Array gates = random_array({kSteps, kRows, 4 * kUnits}), W_hh = random_array({kUnits, 4 * kUnits}),
                  bias = random_array({4 * kUnits}), hidden = random_array({kSteps + 1, kRows, kUnits}),
                  cells = random_array({kSteps + 1, kRows, kUnits}),
                  grad_hidden = random_array({kSteps, kRows, kUnits}), grad_cell = random_array({kRows, kUnits}),
                  grad_gates = random_array({kSteps, kRows, 4 * kUnits}), grad_h0 = random_array({kRows, kUnits}),
                  grad_c0 = random_array({kRows, kUnits});
      kernels.lstm(gates, W_hh, bias, hidden, cells);
      kernels.lstm_backward(grad_hidden, grad_cell, gates, cells, W_hh, grad_gates, grad_h0, grad_c0);
      Values all;
      for (const Array* a : {&gates, &hidden, &cells, &grad_gates, &grad_h0, &grad_c0})
        for (double value : values(*a)) all.push_back(value);
      return all;
    };
    EXPECT_SAME_WITH_THREADS(results, 1, 2, 3, 4);
  });
}

TEST(wrong_operands_are_refused) {
  const Array gates = compact(DType::float32, {3, 2, 16}), W_hh = compact(DType::float32, {4, 16}),
              bias = compact(DType::float32, {16}), states = compact(DType::float32, {4, 2, 4}),
              short_states = compact(DType::float32, {3, 2, 4}), doubles = compact(DType::float64, {16});
  EXPECT_THROW(ShapeError, "lstm: hidden has shape (3, 2, 4), expected (4, 2, 4)",
               check::lstm(gates, W_hh, bias, short_states, states));
  EXPECT_THROW(ShapeError, "lstm: W_hh has shape (16, 4), expected (16, 64)",
               check::lstm(gates, compact(DType::float32, {16, 4}), bias, states, states));
  EXPECT_THROW(DTypeError, "lstm: bias", check::lstm(gates, W_hh, doubles, states, states));
  EXPECT_THROW(ShapeError, "rnn: gates has shape (3, 2, 16), expected (3, 2, 4)",
               check::rnn(gates, compact(DType::float32, {4, 4}), bias, states, false));
  EXPECT_THROW(DTypeError, "expected a floating dtype",
               check::rnn(compact(DType::int32, {3, 2, 4}), W_hh, bias, states, false));
}

}  // namespace
}  // namespace needle
