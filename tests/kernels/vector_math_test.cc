// The elementary functions of float32 over their whole range: every 997th bit pattern against the C library's float64.
#include <cmath>
#include <cstring>

#include "kernels/testing/check.h"

namespace needle {
namespace {

// The distance from `exact` to `met` in units of the last place of a float32 near `exact`.
double ulps(float met, double exact) {
  const float nearest = static_cast<float>(exact);
  if (std::isnan(nearest)) return std::isnan(met) ? 0 : INFINITY;
  if (std::isinf(nearest)) return met == nearest ? 0 : INFINITY;
  int exponent;
  std::frexp(nearest, &exponent);
  return std::fabs(met - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

using Kernel = void (*cpu::Kernels::*)(const Array&, const Array&);
const struct { const char* name; Kernel kernel; double (*exact)(double); double most; } kFunctions[] = {
    {"exp", &cpu::Kernels::exp, [](double x) { return std::exp(x); }, 1},
    {"log", &cpu::Kernels::log, [](double x) { return std::log(x); }, 1},
    {"sin", &cpu::Kernels::sin, [](double x) { return std::sin(x); }, 1},
    {"cos", &cpu::Kernels::cos, [](double x) { return std::cos(x); }, 1},
    {"tanh", &cpu::Kernels::tanh, [](double x) { return std::tanh(x); }, 1.5},
    {"sigmoid", &cpu::Kernels::sigmoid, sigmoid, 2.5},
    {"erf", &cpu::Kernels::erf, [](double x) { return std::erf(x); }, 1.5},
};

TEST(a_few_ulps_everywhere) {
  constexpr uint64_t kStep = 997;  // a prime, so that low bits take all values
  const int64_t count = (uint64_t{1} << 32) / kStep;
  const Array x = testing::compact(DType::float32, {count}), y = testing::compact(DType::float32, {count});
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(i * kStep);
    std::memcpy(x.data<float>() + i, &bits, sizeof bits);
  }
  std::vector<double> exact(count);
  for (const auto& function : kFunctions) {
    for (int64_t i = 0; i < count; ++i) exact[i] = function.exact(x.data<float>()[i]);
    testing::for_each_level([&](const cpu::Kernels& kernels) {
      (kernels.*function.kernel)(x, y);
      double worst = 0;
      int64_t where = 0;
      for (int64_t i = 0; i < count; ++i) {
        const double distance = ulps(y.data<float>()[i], exact[i]);
        if (distance > worst) worst = distance, where = i;
      }
      std::cerr << "  " << function.name << ": at most " << worst << " ulp" << std::endl;
      if (worst > function.most)
        testing::fail(__FILE__, __LINE__,
                      std::string(function.name) + " of " + std::to_string(x.data<float>()[where]) + " is " +
                          std::to_string(y.data<float>()[where]) + ", off by " + std::to_string(worst) + " ulp");
    });
  }
}

}  // namespace
}  // namespace needle
