// The elementary functions against the C library in a wider type, over their whole range: float32 against float64 at
// every 997th bit pattern, float64 against long double at half a million bit patterns and as many numbers where the
// functions are neither constant nor infinite; and where things end: zeros, subnormal numbers, infinities, NaN.
#include <cmath>
#include <cstring>
#include <iomanip>
#include <limits>
#include <sstream>

#include "kernels/testing/check.h"

namespace needle {
namespace {

// The distance from `exact` to `met` in units of the last place of a T near `exact`, a subnormal number's near zero.
// A zero of the wrong sign is infinitely far.
template <class T, class Wide>
double ulps(T met, Wide exact) {
  using Limits = std::numeric_limits<T>;
  const T nearest = static_cast<T>(exact);
  if (std::isnan(nearest)) return std::isnan(met) ? 0 : INFINITY;
  if (std::isinf(nearest)) return met == nearest ? 0 : INFINITY;
  if (exact == 0 && met == 0) return std::signbit(exact) == std::signbit(met) ? 0 : INFINITY;
  constexpr int kSmallest = Limits::min_exponent - Limits::digits;  // of the last place of any T
  int exponent = kSmallest;
  if (nearest != 0) std::frexp(nearest, &exponent);
  return static_cast<double>(std::fabs(met - exact) /
                             std::ldexp(Wide{1}, std::max(exponent - Limits::digits, kSmallest)));
}

// Whether a factor of the result, less than 64 times smaller, may be a subnormal number.
template <class T, class Wide>
bool is_tiny(Wide exact) {
  return std::fabs(exact) < 64 * std::numeric_limits<T>::min();
}

template <class T>
T sigmoid(T x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

template <class T>
T normal_below(T x) {
  return std::erfc(x * -std::sqrt(T{0.5})) / 2;
}

template <class T>
T gelu(T x) {
  return x == -INFINITY ? -T{0} : x * normal_below(x);
}

using Kernel = void (*Kernels::*)(const Array&, const Array&);
template <class T>
struct Function {
  const char* name;
  Kernel kernel;
  T (*exact)(T);            // in the wider type
  double most;              // ulps, the bounds that kernels/cpu/vector_math.h states
  double most_tiny = most;  // of results near the subnormal numbers
};

template <class T>
std::vector<Function<T>> functions(const double (&most)[8], double most_of_tiny_gelu) {
  return {{"exp", &Kernels::exp, [](T x) -> T { return std::exp(x); }, most[0]},
          {"log", &Kernels::log, [](T x) -> T { return std::log(x); }, most[1]},
          {"sin", &Kernels::sin, [](T x) -> T { return std::sin(x); }, most[2]},
          {"cos", &Kernels::cos, [](T x) -> T { return std::cos(x); }, most[3]},
          {"tanh", &Kernels::tanh, [](T x) -> T { return std::tanh(x); }, most[4]},
          {"sigmoid", &Kernels::sigmoid, sigmoid<T>, most[5]},
          {"erf", &Kernels::erf, [](T x) -> T { return std::erf(x); }, most[6]},
          {"gelu", &Kernels::gelu, gelu<T>, most[7], most_of_tiny_gelu}};
}

template <class T>
std::vector<T> ends() {
  using Limits = std::numeric_limits<T>;
  const T largest_subnormal = std::nextafter(Limits::min(), T{0});
  std::vector<T> values = {Limits::quiet_NaN()};
  for (const T value :
       {T{0}, Limits::denorm_min(), largest_subnormal, Limits::min(), T{1}, Limits::max(), Limits::infinity()})
    values.insert(values.end(), {value, -value});
  return values;
}

// Holds every function at every level to its bound at all of `values`.
template <class T, class Wide>
void expect_bounds(DType dtype, const std::vector<T>& values, const std::vector<Function<Wide>>& all) {
  const int64_t count = static_cast<int64_t>(values.size());
  const Array x = testing::compact(dtype, {count}), y = testing::compact(dtype, {count});
  std::memcpy(x.data<T>(), values.data(), count * sizeof(T));
  std::vector<Wide> exact(count);
  for (const auto& function : all) {
    for (int64_t i = 0; i < count; ++i) exact[i] = function.exact(values[i]);
    testing::for_each_level([&](const Kernels& kernels) {
      (kernels.*function.kernel)(x, y);
      double worst = 0;
      int64_t where = 0;
      for (int64_t i = 0; i < count; ++i) {
        const double unit = is_tiny<T>(exact[i]) ? function.most_tiny / function.most : 1;
        const double distance = ulps(y.data<T>()[i], exact[i]) / unit;
        if (distance > worst) worst = distance, where = i;
      }
      std::cerr << "  " << function.name << ": at most " << worst << " ulp" << std::endl;
      if (worst > function.most) {
        std::ostringstream message;
        message << std::setprecision(std::numeric_limits<T>::max_digits10) << function.name << " of " << values[where]
                << " is " << y.data<T>()[where] << ", off by " << worst << " ulp";
        testing::fail(__FILE__, __LINE__, message.str());
      }
    });
  }
}

TEST(float32_everywhere) {
  constexpr uint64_t kStep = 997;  // a prime, so that low bits take all values
  std::vector<float> values = ends<float>();
  for (uint64_t pattern = 0; pattern < uint64_t{1} << 32; pattern += kStep) {
    const uint32_t bits = static_cast<uint32_t>(pattern);
    values.emplace_back();
    std::memcpy(&values.back(), &bits, sizeof bits);
  }
  expect_bounds(DType::float32, values, functions<double>({1, 1, 2, 2, 1.5, 2.5, 1.5, 6}, 6));
}

TEST(float64_everywhere) {
  constexpr int64_t kCount = 500'000;
  std::vector<double> values = ends<double>();
  for (int64_t i = 0; i < kCount; ++i) {
    const uint64_t bits = static_cast<uint64_t>(i) * 36893488147421;  // about 2^64 / kCount, odd
    values.emplace_back();
    std::memcpy(&values.back(), &bits, sizeof bits);
    const double spread = static_cast<double>(2 * i - kCount) / kCount;  // -1 to 1
    values.push_back(760 * spread * spread * spread);                    // exp: 0 below -745.2, infinite above 709.8
  }
  expect_bounds(DType::float64, values, functions<long double>({1, 1, 1, 1, 2.5, 2.5, 1.5, 5}, 48));
}

// Where the derivative passes through 0 its error is one of the numbers that it is the difference of, about 0.2.
template <class T, class Wide>
void expect_gelu_derivative(DType dtype, double most) {
  constexpr double kRoot = -0.75179;
  std::vector<T> values = {INFINITY, -INFINITY, NAN, std::numeric_limits<T>::max(), -std::numeric_limits<T>::max(), 0};
  for (int i = -400'000; i <= 400'000; ++i) values.push_back(static_cast<T>(1e-4 * i));
  const int64_t count = static_cast<int64_t>(values.size());
  const Array x = testing::compact(dtype, {count}), y = testing::compact(dtype, {count});
  std::memcpy(x.data<T>(), values.data(), count * sizeof(T));
  testing::for_each_level([&](const Kernels& kernels) {
    kernels.gelu_backward(Array::scalar(1.0, dtype), x, y);
    const T* met = y.data<T>();
    EXPECT(met[0] == 1 && met[1] == 0 && std::isnan(met[2]) && met[3] == 1 && met[4] == 0 && met[5] == T{0.5});
    double worst = 0, worst_near_root = 0;
    for (int64_t i = 6; i < count; ++i) {
      const Wide a = values[i], density = std::exp(-a * a / 2) / std::sqrt(2 * std::acos(Wide{-1}));
      const Wide exact = normal_below(a) + a * density;
      if (is_tiny<T>(exact)) continue;
      const bool is_near = std::fabs(values[i] - kRoot) < 0.3;
      const double error = is_near ? static_cast<double>(std::fabs(met[i] - exact)) / std::numeric_limits<T>::epsilon()
                                   : ulps(met[i], exact);
      double& largest = is_near ? worst_near_root : worst;
      largest = std::max(largest, error);
    }
    std::cerr << "  " << name(dtype) << ": at most " << worst << " ulp, " << worst_near_root << " epsilon near the root"
              << std::endl;
    EXPECT(worst <= most);
    EXPECT(worst_near_root <= 1);
  });
}

TEST(gelu_derivative) {
  expect_gelu_derivative<float, double>(DType::float32, 8);
  expect_gelu_derivative<double, long double>(DType::float64, 8);
}

}  // namespace
}  // namespace needle
