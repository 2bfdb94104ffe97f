// Softmax and its relatives against their formulas in float64.
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

double logsumexp(const double* row, int64_t classes) {
  double largest = -INFINITY, sum = 0;
  for (int64_t c = 0; c < classes; ++c) largest = std::fmax(largest, row[c]);
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(row[c] - largest);
  return largest + std::log(sum);
}

double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-13 : dtype == DType::float32 ? 4e-6 : 2 * testing::epsilon(dtype);
}

TEST(rows_of_all_lengths_and_layouts) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kFloatingDTypes)
      for (const Shape& shape : {Shape{1}, Shape{4, 10}, Shape{2, 3, 64}, Shape{3, 5000}, Shape{0, 4}})
        for (Layout layout : testing::kLayouts) {
          const int64_t classes = shape.back();
          const Array x = strided(dtype, shape, layout),
                      out = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
          testing::fill(x, [&] { return 20 * random.normal(); });  // without a shift, float16 would overflow
          const Array sums =
              strided(dtype, Shape(shape.begin(), shape.end() - 1), testing::kWritableLayouts[random.integer(0, 3)]);
          const Values a = values(x);
          Values log_sums, probabilities(a.size()), logs(a.size());
          for (size_t r = 0; r < a.size() / classes; ++r) log_sums.push_back(logsumexp(&a[r * classes], classes));
          for (size_t i = 0; i < a.size(); ++i) {
            logs[i] = a[i] - log_sums[i / classes];
            probabilities[i] = std::exp(logs[i]);
          }
          const double near = tolerance(dtype);
          kernels.softmax(x, out);
          EXPECT_NEAR("softmax", values(out), probabilities, near, 1e-7);
          kernels.log_softmax(x, out);
          EXPECT_NEAR("log_softmax", values(out), logs, near, near);
          kernels.logsumexp(x, sums);
          EXPECT_NEAR("logsumexp", values(sums), log_sums, near, near);
        }
  });
}

TEST(cross_entropy_and_its_gradient) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(2);
    for (DType dtype : testing::kFloatingDTypes)
      for (DType label_dtype : {DType::int32, DType::int64})
        for (int64_t classes : {1, 10, 3000})
          for (Layout layout : testing::kWritableLayouts) {
            const int64_t rows = 7;
            const Array x = strided(dtype, {rows, classes}, layout), labels = strided(label_dtype, {rows}, layout),
                        loss = strided(dtype, {rows}, layout), grad = strided(dtype, {rows}, layout),
                        grad_x = strided(dtype, {rows, classes}, testing::kWritableLayouts[random.integer(0, 3)]);
            random.fill(x);
            random.fill(grad);
            testing::fill(labels, [&] { return static_cast<double>(random.integer(0, classes - 1)); });
            const Values a = values(x), y = values(labels), g = values(grad);
            Values losses, grads;
            for (int64_t r = 0; r < rows; ++r) {
              const double log_sum = logsumexp(&a[r * classes], classes);
              losses.push_back(log_sum - a[r * classes + static_cast<int64_t>(y[r])]);
              for (int64_t c = 0; c < classes; ++c)
                grads.push_back((std::exp(a[r * classes + c] - log_sum) - (c == y[r])) * g[r]);
            }
            const double near = tolerance(dtype);
            kernels.softmax_cross_entropy(x, labels, loss);
            EXPECT_NEAR("loss", values(loss), losses, near, near);
            kernels.softmax_cross_entropy_backward(x, labels, grad, grad_x);
            EXPECT_NEAR("grad_logits", values(grad_x), grads, near, near / 10);
          }
  });
}

TEST(infinities) {
  testing::for_each_level([](const Kernels& kernels) {
    const Array x = compact(DType::float32, {3, 2}), sums = compact(DType::float32, {3}),
                out = compact(DType::float32, {3, 2});
    const Values numbers = {-INFINITY, -INFINITY, -INFINITY, 1, INFINITY, 1};
    size_t i = 0;
    testing::fill(x, [&] { return numbers[i++]; });
    kernels.logsumexp(x, sums);
    EXPECT_NEAR("logsumexp", values(sums), {-INFINITY, 1, INFINITY}, 0);
    kernels.softmax(x, out);
    EXPECT_NEAR("softmax", values(out), {NAN, NAN, 0, 1, NAN, NAN}, 0);
  });
}

TEST(mistakes_are_named_before_anything_is_written) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array x = compact(DType::float32, {3, 4}), labels = compact(DType::int64, {3}),
              loss = compact(DType::float32, {3}), none = compact(DType::float32, {3, 0}),
              floats = compact(DType::float32, {3});
  testing::fill(loss, [] { return 9.0; });
  labels.data<int64_t>()[2] = 4;
  EXPECT_THROW(ShapeError, "softmax_cross_entropy: label 4 at position 2, expected 0 to 3",
               kernels.softmax_cross_entropy(x, labels, loss));
  labels.data<int64_t>()[2] = -1;
  EXPECT_THROW(ShapeError, "label -1", kernels.softmax_cross_entropy_backward(x, labels, loss, x));
  EXPECT_NEAR("loss", values(loss), {9, 9, 9}, 0);
  EXPECT_THROW(DTypeError, "labels is float32, expected int32 or int64", check::softmax_cross_entropy(x, floats, loss));
  EXPECT_THROW(ShapeError, "softmax: x has shape (3, 0)", check::softmax(none, none));
  EXPECT_THROW(ShapeError, "logsumexp: out has shape (3, 4)", check::logsumexp(x, x));
}

}  // namespace
}  // namespace needle
