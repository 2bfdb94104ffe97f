// Every step against float64, at every level: sizes below, at and beyond those of tiles and blocks.
#include "benchmarks/matmul_steps/steps.h"

#include <string>

#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;

namespace {

constexpr int64_t kSizes[] = {1, 2, 13, 33, 64, 197, 300, 520};

std::vector<float> random_matrix(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> matrix(n * n);
  for (float& number : matrix) number = static_cast<float>(random.normal());
  return matrix;
}

std::vector<double> reference(int64_t n, const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> c(n * n, 0.0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < n; ++p)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += static_cast<double>(a[i * n + p]) * b[p * n + j];
  return c;
}

}  // namespace

TEST(every_step_multiplies) {
  for (int64_t n : kSizes) {
    const std::vector<float> a = random_matrix(n, 1), b = random_matrix(n, 2);
    const std::vector<double> expected = reference(n, a, b);
    for (Level level : {Level::baseline, Level::avx2, Level::avx512}) {
      if (level > highest_level()) continue;
      for (const cpu::MatmulStep& step : cpu::matmul_steps(level).steps) {
        std::vector<float> c(n * n, 1.0f);  // must be overwritten
        step.multiply(n, a.data(), b.data(), c.data());
        EXPECT_NEAR(std::string(name(level)) + " " + step.name + " " + std::to_string(n),
                    std::vector<double>(c.begin(), c.end()), expected, 0, 4 * epsilon(DType::float32) * (n + 4));
      }
    }
  }
}

TEST(peak_counts_its_operations) {
  const cpu::MatmulSteps& steps = cpu::matmul_steps(Level::baseline);
  EXPECT_EQ(steps.run_peak(10, 2), 2.0 * 4 * 12 * 10 * 2);  // 12 sums of 4 numbers
}
