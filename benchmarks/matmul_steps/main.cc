// Times the steps, our own kernel, and the most multiply-adds that the processor does; prints a table.
//
//   matmul_steps [--size=N] [--level=baseline|avx2|avx512]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "benchmarks/matmul_steps/steps.h"
#include "kernels/common/array.h"
#include "kernels/common/parallel.h"

using namespace needle;

namespace {

constexpr int64_t kNaiveAtMost = 1024;  // beyond it the naive product takes many seconds
constexpr double kSecondsPerStep = 1;
constexpr int kRunsAtLeast = 3, kRunsAtMost = 50;

// The times of runs in ascending order, after one that does not count.
template <class Run>
std::vector<double> sorted_seconds(const Run& run) {
  using Clock = std::chrono::steady_clock;
  run();
  std::vector<double> times;
  double total = 0;
  while (times.size() < kRunsAtLeast || (total < kSecondsPerStep && times.size() < kRunsAtMost)) {
    const auto begin = Clock::now();
    run();
    times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return times;
}

// The largest error of some of C's elements, as a share of what rounding may add up to: n * 2^-24 * sum |a b|.
double share_of_error_bound(int64_t n, const float* a, const float* b, const float* c) {
  double worst = 0;
  for (int64_t check = 0; check < 2000; ++check) {
    const int64_t element = check * 7919 % (n * n), i = element / n, j = element % n;
    double sum = 0, magnitude = 0;
    for (int64_t p = 0; p < n; ++p) {
      const double term = static_cast<double>(a[i * n + p]) * b[p * n + j];
      sum += term;
      magnitude += std::fabs(term);
    }
    const double share = std::fabs(c[element] - sum) / (n * std::ldexp(magnitude, -24));
    if (!(share <= worst)) worst = share;  // NaN, too
  }
  return worst;
}

Level level_named(const std::string& wanted) {
  for (Level level : {Level::baseline, Level::avx2, Level::avx512})
    if (wanted == name(level)) return level;
  throw std::invalid_argument("--level=" + wanted + ": expected baseline, avx2 or avx512");
}

void run(int64_t n, Level level) {
  const cpu::MatmulSteps& steps = cpu::matmul_steps(level);
  const int threads = num_threads();
  const Array a = Array::compact(DType::float32, 2, {n, n}), b = Array::compact(DType::float32, 2, {n, n}),
              c = Array::compact(DType::float32, 2, {n, n});
  std::mt19937 engine(0);
  std::normal_distribution<float> normal;
  for (const Array* operand : {&a, &b}) std::generate_n(operand->data<float>(), n * n, [&] { return normal(engine); });

  const auto peak = [&](int count) {
    double operations = 0;
    const std::vector<double> times = sorted_seconds([&] { operations = steps.run_peak(200000, count); });
    return 1e-9 * operations / times.front();
  };
  const double peak_of_one = peak(1), peak_of_all = peak(threads);
  std::printf("%ld x %ld times %ld x %ld, float32, %s; peak %.0f GFLOP/s on 1 thread, %.0f on %d\n\n", n, n, n, n,
              name(level), peak_of_one, peak_of_all, threads);
  std::printf("%-14s %8s %10s %9s %10s\n", "step", "threads", "ms", "GFLOP/s", "of peak");

  const auto report = [&](const char* step, bool is_threaded, const auto& multiply) {
    std::fill_n(c.data<float>(), n * n, NAN);
    const std::vector<double> times = sorted_seconds(multiply);
    const double median = times[times.size() / 2], rate = 2e-9 * n * n * n / median;
    if (!(share_of_error_bound(n, a.data<float>(), b.data<float>(), c.data<float>()) <= 1))
      throw std::runtime_error(std::string(step) + ": a wrong product");
    std::printf("%-14s %8d %10.2f %9.1f %9.1f%%\n", step, is_threaded ? threads : 1, 1e3 * median, rate,
                100 * rate / (is_threaded ? peak_of_all : peak_of_one));
    std::fflush(stdout);
  };
  for (const cpu::MatmulStep& step : steps.steps) {
    if (n > kNaiveAtMost && &step == steps.steps) continue;
    report(step.name, step.is_threaded, [&] { step.multiply(n, a.data<float>(), b.data<float>(), c.data<float>()); });
  }
  const Kernels& kernels = cpu::kernels(level);
  report("needle", true, [&] { kernels.matmul(a, b, c); });
  set_num_threads(1);
  report("needle", false, [&] { kernels.matmul(a, b, c); });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    int64_t size = 512;
    Level level = highest_level();
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument.rfind("--size=", 0) == 0) {
        size = std::atol(argument.c_str() + std::strlen("--size="));
        if (size < 1 || size > 16384) throw std::invalid_argument(argument + ": expected 1 to 16384");
      } else if (argument.rfind("--level=", 0) == 0) {
        level = level_named(argument.substr(std::strlen("--level=")));
      } else {
        throw std::invalid_argument(argument + ": expected --size=N or --level=LEVEL");
      }
    }
    run(size, level);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "matmul_steps: %s\n", error.what());
    return 1;
  }
}
