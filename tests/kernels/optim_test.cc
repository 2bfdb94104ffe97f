// Optimizer steps against their formulas in float64.
#include <cmath>

#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Random;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-14 : dtype == DType::float32 ? 1e-6 : 2 * testing::epsilon(dtype);
}

TEST(sgd) {
  testing::for_each_level([](const cpu::Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kFloatingDTypes)
      for (double momentum : {0.0, 0.9})
        for (double dampening : {0.0, 0.9})
          for (bool nesterov : {false, true}) {
            const auto state = [&] {
              const Array a = strided(dtype, {30, 50}, testing::kWritableLayouts[random.integer(0, 3)]);
              random.fill(a);
              return a;
            };
            const Array parameter = state(), grad = state(), velocity = state();
            Values p = values(parameter), v = values(velocity);
            const Values gradients = values(grad);
            const double rate = 0.1, decay = 0.01;
            for (size_t i = 0; i < p.size(); ++i) {
              const double g = gradients[i] + decay * p[i];
              if (momentum == 0) {
                p[i] -= rate * g;
                continue;
              }
              v[i] = momentum * v[i] + (1 - dampening) * g;
              p[i] -= rate * (nesterov ? g + momentum * v[i] : v[i]);
            }
            kernels.sgd_step(parameter, grad, velocity, rate, momentum, dampening, decay, nesterov);
            EXPECT_NEAR("parameter", values(parameter), p, tolerance(dtype), tolerance(dtype));
            EXPECT_NEAR("velocity", values(velocity), v, momentum == 0 ? 0 : tolerance(dtype),
                        momentum == 0 ? 0 : tolerance(dtype));
            EXPECT_NEAR("grad", values(grad), gradients, 0);
          }
  });
}

TEST(adam) {
  testing::for_each_level([](const cpu::Kernels& kernels) {
    Random random(2);
    for (DType dtype : testing::kFloatingDTypes)
      for (bool decoupled : {false, true})
        for (int64_t step : {1, 10, 100000}) {
          const Array parameter = strided(dtype, {40, 30}, testing::kWritableLayouts[random.integer(0, 3)]),
                      grad = compact(dtype, {40, 30}), first = compact(dtype, {40, 30}),
                      second = strided(dtype, {40, 30}, testing::kWritableLayouts[random.integer(0, 3)]);
          for (const Array& a : {parameter, grad, first}) random.fill(a);
          testing::fill(second, [&] { return std::fabs(random.normal()); });
          Values p = values(parameter), m = values(first), v = values(second);
          const Values gradients = values(grad);
          const double rate = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.1;
          for (size_t i = 0; i < p.size(); ++i) {
            double g = gradients[i];
            if (decoupled) p[i] *= 1 - rate * decay;
            else g += decay * p[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            p[i] -= rate * (m[i] / (1 - std::pow(beta1, step))) / (std::sqrt(v[i] / (1 - std::pow(beta2, step))) + eps);
          }
          kernels.adam_step(parameter, grad, first, second, rate, beta1, beta2, eps, decay, decoupled, step);
          EXPECT_NEAR("parameter", values(parameter), p, tolerance(dtype), tolerance(dtype));
          EXPECT_NEAR("first moment", values(first), m, tolerance(dtype), tolerance(dtype));
          EXPECT_NEAR("second moment", values(second), v, tolerance(dtype), tolerance(dtype));
        }
  });
}

TEST(mistakes_are_named) {
  const cpu::Kernels& kernels = cpu::kernels(highest_level());
  const Array p = compact(DType::float32, {3}), wrong = compact(DType::float32, {4}),
              wide = compact(DType::float64, {3});
  EXPECT_THROW(ShapeError, "sgd_step: grad has shape (4,)", kernels.sgd_step(p, wrong, p, 0.1, 0, 0, 0, false));
  EXPECT_THROW(DTypeError, "adam_step: first_moment is float64",
               kernels.adam_step(p, p, wide, p, 0.1, 0.9, 0.9, 1e-8, 0, false, 1));
  EXPECT_THROW(ShapeError, "adam_step: step 0, expected 1 or more",
               kernels.adam_step(p, p, p, p, 0.1, 0.9, 0.9, 1e-8, 0, false, 0));
  kernels.sgd_step(p, p, wrong, 0.1, 0, 0, 0, false);  // without momentum the velocity may be any array
}

}  // namespace
}  // namespace needle
