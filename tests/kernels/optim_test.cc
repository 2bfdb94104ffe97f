// Optimizer steps against their formulas in float64.
#include <cmath>
#include <limits>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Random;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

const std::vector<Array> always;  // the step is made, whatever is finite

double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-14 : dtype == DType::float32 ? 1e-6 : 2 * testing::epsilon(dtype);
}

TEST(sgd) {
  testing::for_each_level([](const Kernels& kernels) {
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
            kernels.sgd_step({{parameter}}, {{grad}}, {{velocity}}, rate, momentum, dampening, decay, nesterov, always);
            EXPECT_NEAR("parameter", values(parameter), p, tolerance(dtype), tolerance(dtype));
            EXPECT_NEAR("velocity", values(velocity), v, momentum == 0 ? 0 : tolerance(dtype),
                        momentum == 0 ? 0 : tolerance(dtype));
            EXPECT_NEAR("grad", values(grad), gradients, 0);
          }
  });
}

TEST(adam) {
  testing::for_each_level([](const Kernels& kernels) {
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
            if (decoupled)
              p[i] *= 1 - rate * decay;
            else
              g += decay * p[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            p[i] -= rate * (m[i] / (1 - std::pow(beta1, step))) / (std::sqrt(v[i] / (1 - std::pow(beta2, step))) + eps);
          }
          kernels.adam_step({{parameter}}, {{grad}}, {{first}}, {{second}}, rate, beta1, beta2, eps, decay, decoupled,
                            step, always);
          EXPECT_NEAR("parameter", values(parameter), p, tolerance(dtype), tolerance(dtype));
          EXPECT_NEAR("first moment", values(first), m, tolerance(dtype), tolerance(dtype));
          EXPECT_NEAR("second moment", values(second), v, tolerance(dtype), tolerance(dtype));
        }
  });
}

TEST(mistakes_are_named) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array p = compact(DType::float32, {3}), wrong = compact(DType::float32, {4}),
              wide = compact(DType::float64, {3});
  const std::vector<Array> none, one{p}, two{p, compact(DType::float32, {5})};
  EXPECT_THROW(ShapeError, "sgd_step: grad has shape (4,)",
               check::sgd_step(one, {{wrong}}, one, 0.1, 0, 0, 0, false, always));
  EXPECT_THROW(ShapeError, "sgd_step: 1 arrays for grad, expected one for each of 2 parameters",
               check::sgd_step(two, one, two, 0.1, 0, 0, 0, false, always));
  EXPECT_THROW(DTypeError, "sgd_step: parameter is float64",
               check::sgd_step({{p, wide}}, {{p, wide}}, two, 0.1, 0, 0, 0, false, always));
  EXPECT_THROW(DTypeError, "sgd_step: parameter is int32",
               check::sgd_step({{compact(DType::int32, {3})}}, one, one, 0.1, 0, 0, 0, false, always));
  EXPECT_THROW(DTypeError, "adam_step: first_moment is float64",
               check::adam_step(one, one, {{wide}}, one, 0.1, 0.9, 0.9, 1e-8, 0, false, 1, always));
  EXPECT_THROW(ShapeError, "adam_step: step 0, expected 1 or more",
               check::adam_step(one, one, one, one, 0.1, 0.9, 0.9, 1e-8, 0, false, 0, always));
  EXPECT_THROW(ShapeError, "sgd_step: only_if_finite has shape (3,), expected one element",
               check::sgd_step(one, one, one, 0.1, 0, 0, 0, false, one));
  EXPECT_THROW(ShapeError, "adam_step: 2 arrays for only_if_finite, expected at most one",
               check::adam_step(one, one, one, one, 0.1, 0.9, 0.9, 1e-8, 0, false, 1, two));
  EXPECT_THROW(DTypeError, "sgd_step: only_if_finite has dtype float16, expected float32 or float64",
               check::sgd_step(one, one, one, 0.1, 0, 0, 0, false, {{compact(DType::float16, {})}}));
  kernels.sgd_step(one, one, none, 0.1, 0, 0, 0, false, always);  // without momentum there need be no velocities
  kernels.adam_step(none, none, none, none, 0.1, 0.9, 0.9, 1e-8, 0, false, 1, always);
}

TEST(nothing_changes_unless_a_number_is_finite) {
  const double infinity = std::numeric_limits<double>::infinity();
  testing::for_each_level([&](const Kernels& kernels) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const double value : {1.0, -infinity, infinity, std::nan("")}) {
        const Array p = compact(DType::float32, {3}), g = compact(DType::float32, {3}),
                    m = compact(DType::float32, {3}), v = compact(DType::float32, {3}), number = compact(dtype, {});
        testing::fill(number, [&] { return value; });
        const std::vector<double> ones{1, 1, 1}, zeros{0, 0, 0};
        const auto step = [&](auto update) {
          for (const Array* a : {&p, &g}) testing::fill(*a, [] { return 1.0; });
          for (const Array* a : {&m, &v}) testing::fill(*a, [] { return 0.0; });
          update();
          EXPECT_EQ(values(p) == ones && values(m) == zeros && values(v) == zeros, value != 1);
        };
        step([&] { kernels.sgd_step({{p}}, {{g}}, {{m}}, 0.1, 0.9, 0, 0, false, {{number}}); });
        step([&] { kernels.adam_step({{p}}, {{g}}, {{m}}, {{v}}, 0.1, 0.9, 0.99, 1e-8, 0, false, 1, {{number}}); });
      }
  });
}

// Arrays of all layouts and sizes, some of which lie across the threads' shares.
TEST(many_parameters_are_updated_as_if_alone) {
  const std::vector<testing::Shape> shapes{{7}, {0, 3}, {}, {300, 210}, {64, 3}, {90'000}, {1}, {33, 5, 40}};
  testing::for_each_level([&](const Kernels& kernels) {
    const auto update = [&](bool together) {
      Random random(3);
      std::vector<Array> lists[4];
      for (auto& list : lists)
        for (const testing::Shape& shape : shapes) {
          list.push_back(strided(DType::float32, shape, testing::kWritableLayouts[random.integer(0, 3)]));
          testing::fill(list.back(), [&] { return std::fabs(random.normal()); });
        }
      auto& [parameters, grads, first, second] = lists;
      const auto step = [&](const ArrayList& p, const ArrayList& g, const ArrayList& m, const ArrayList& v) {
        kernels.adam_step(p, g, m, v, 0.1, 0.9, 0.99, 1e-8, 0.1, false, 2, always);
      };
      if (together) step(parameters, grads, first, second);
      for (size_t i = 0; i < shapes.size() && !together; ++i)
        step({{parameters[i]}}, {{grads[i]}}, {{first[i]}}, {{second[i]}});
      Values result;
      for (const auto& list : {parameters, first, second})
        for (const Array& a : list)
          for (double value : values(a)) result.push_back(value);
      return result;
    };
    const auto alone = update(false);
    EXPECT_SAME_WITH_THREADS([&] { return update(true); }, 1, 2, 3, 7);
    EXPECT(update(true) == alone);
  });
}

}  // namespace
}  // namespace needle
