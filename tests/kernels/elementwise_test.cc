// Element-wise kernels: every operation, dtype and layout against the same operation on float64.
#include <cmath>
#include <limits>

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

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The shapes take every path: one element, one row, short rows, long rows, and transposed tiles with remainders.
const Shape kShapes[] = {{}, {1}, {0, 3}, {7}, {600}, {3, 5, 2}, {70, 200}, {2, 150, 3}};

using Unary = double (*)(double);
using Binary = double (*)(double, double);
using UnaryKernel = void (*Kernels::*)(const Array&, const Array&);
using BinaryKernel = void (*Kernels::*)(const Array&, const Array&, const Array&);

double sign(double a) { return (a > 0) - (a < 0); }
double relu(double a) { return a > 0 ? a : 0; }
double sigmoid(double a) { return 1 / (1 + std::exp(-a)); }

const struct {
  const char* name;
  UnaryKernel kernel;
  Unary reference;
  bool floating, positive;
} kUnary[] = {
    {"negate", &Kernels::negate, [](double a) { return -a; }, false, false},
    {"abs", &Kernels::abs, [](double a) { return std::fabs(a); }, false, false},
    {"sign", &Kernels::sign, sign, false, false},
    {"relu", &Kernels::relu, relu, false, false},
    {"floor", &Kernels::floor, [](double a) { return std::floor(a); }, true, false},
    {"ceil", &Kernels::ceil, [](double a) { return std::ceil(a); }, true, false},
    {"exp", &Kernels::exp, [](double a) { return std::exp(a); }, true, false},
    {"log", &Kernels::log, [](double a) { return std::log(a); }, true, true},
    {"sqrt", &Kernels::sqrt, [](double a) { return std::sqrt(a); }, true, true},
    {"sin", &Kernels::sin, [](double a) { return std::sin(a); }, true, false},
    {"cos", &Kernels::cos, [](double a) { return std::cos(a); }, true, false},
    {"tanh", &Kernels::tanh, [](double a) { return std::tanh(a); }, true, false},
    {"sigmoid", &Kernels::sigmoid, sigmoid, true, false},
    {"erf", &Kernels::erf, [](double a) { return std::erf(a); }, true, false},
    {"gelu", &Kernels::gelu, [](double a) { return a / 2 * std::erfc(-a / std::sqrt(2)); }, true, false},
};

TEST(one_operand) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (const auto& op : kUnary)
      for (DType dtype : testing::kAllDTypes) {
        if (dtype == DType::boolean || (op.floating && dtype > DType::bfloat16)) continue;
        for (const Shape& shape : kShapes)
          for (Layout layout : testing::kLayouts) {
            const Array a = strided(dtype, shape, layout);
            testing::fill(a,
                          [&] { return op.positive ? std::fabs(random.number(dtype)) + 0.1 : random.number(dtype); });
            const Array out = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
            (kernels.*op.kernel)(a, out);
            std::vector<double> expected = values(a);
            for (double& value : expected) value = op.reference(value);
            if (dtype == DType::uint8)
              for (double& value : expected) value = std::fmod(value + 256, 256);
            EXPECT_NEAR(op.name, values(out), expected, 2 * testing::epsilon(dtype), 2 * testing::epsilon(dtype));
          }
      }
  });
}

// What wraps around at 8 bits; sums and products of the small numbers here do so nowhere else.
double wrapped(DType dtype, double value) {
  if (dtype == DType::uint8) return std::fmod(value + 65536, 256);
  return value;
}

TEST(two_operands) {
  struct Operation {
    const char* name;
    BinaryKernel kernel;
    Binary reference;
    bool floating;
    int units = 1;
  };
  const Operation operations[] = {
      {"add", &Kernels::add, [](double a, double b) { return a + b; }, false},
      {"subtract", &Kernels::subtract, [](double a, double b) { return a - b; }, false},
      {"multiply", &Kernels::multiply, [](double a, double b) { return a * b; }, false},
      {"maximum", &Kernels::maximum, [](double a, double b) { return a > b ? a : b; }, false},
      {"minimum", &Kernels::minimum, [](double a, double b) { return a < b ? a : b; }, false},
      {"relu_backward", &Kernels::relu_backward, [](double a, double b) { return b <= 0 ? 0 : a; }, false},
      {"divide", &Kernels::divide, [](double a, double b) { return a / b; }, true},
      {"gelu_backward", &Kernels::gelu_backward,
       [](double a, double b) {
         return a * (std::erfc(-b / std::sqrt(2)) / 2 + b * std::exp(-b * b / 2) / std::sqrt(2 * std::acos(-1)));
       },
       true, 4},
      {"add_relu", &Kernels::add_relu, [](double a, double b) { return a + b > 0 ? a + b : 0; }, false},
      {"sigmoid_backward", &Kernels::sigmoid_backward, [](double a, double b) { return a * b * (1 - b); }, true, 3},
      {"tanh_backward", &Kernels::tanh_backward, [](double a, double b) { return a * (1 - b * b); }, true, 3},
  };
  testing::for_each_level([&](const Kernels& kernels) {
    Random random(2);
    for (const auto& op : operations)
      for (DType dtype : testing::kAllDTypes) {
        if (dtype == DType::boolean || (op.floating && dtype > DType::bfloat16)) continue;
        for (const Shape& shape : kShapes)
          for (Layout layout : testing::kLayouts) {
            const Array a = strided(dtype, shape, layout),
                        b = strided(dtype, shape, testing::kLayouts[random.integer(0, 4)]);
            const Array out = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
            random.fill(a);
            random.fill(b);
            (kernels.*op.kernel)(a, b, out);
            const std::vector<double> left = values(a), right = values(b);
            std::vector<double> expected(left.size());
            for (size_t i = 0; i < left.size(); ++i) expected[i] = wrapped(dtype, op.reference(left[i], right[i]));
            const double tolerance = op.units * testing::epsilon(dtype);
            EXPECT_NEAR(op.name, values(out), expected, tolerance, tolerance);
          }
      }
  });
}

// Runs a kernel on a few numbers of one dtype.
std::vector<double> apply(UnaryKernel kernel, DType dtype, const std::vector<double>& a) {
  const Shape shape{static_cast<int64_t>(a.size())};
  const Array operand = compact(dtype, shape), out = compact(dtype, shape);
  size_t i = 0;
  testing::fill(operand, [&] { return a[i++]; });
  (cpu::kernels(highest_level()).*kernel)(operand, out);
  return values(out);
}

std::vector<double> apply(BinaryKernel kernel, DType dtype, DType out_dtype, const std::vector<double>& a,
                          const std::vector<double>& b) {
  const Shape shape{static_cast<int64_t>(a.size())};
  const Array left = compact(dtype, shape), right = compact(dtype, shape), out = compact(out_dtype, shape);
  size_t i = 0, j = 0;
  testing::fill(left, [&] { return a[i++]; });
  testing::fill(right, [&] { return b[j++]; });
  (cpu::kernels(highest_level()).*kernel)(left, right, out);
  return values(out);
}

TEST(division_by_zero_and_signs) {
  using K = Kernels;
  for (DType dtype : {DType::int8, DType::int32, DType::int64}) {
    const double lowest = dtype == DType::int8 ? -128 : dtype == DType::int32 ? -2147483648.0 : -9223372036854775808.0;
    const std::vector<double> a = {7, -7, 7, -7, 5, lowest, 0}, b = {3, 3, -3, -3, 0, -1, 4};
    EXPECT_NEAR("floor_divide", apply(&K::floor_divide, dtype, dtype, a, b), {2, -3, -3, 2, 0, lowest, 0}, 0);
    EXPECT_NEAR("remainder", apply(&K::remainder, dtype, dtype, a, b), {1, 2, -2, -1, 0, 0, 0}, 0);
  }
  for (DType dtype : testing::kFloatingDTypes) {
    const std::vector<double> a = {7, -7, 7, -7, 5, -5, 0, kInfinity, 1}, b = {3, 3, -3, -3, 0, 0, 0, 2, kInfinity};
    EXPECT_NEAR("floor_divide", apply(&K::floor_divide, dtype, dtype, a, b),
                {2, -3, -3, 2, kInfinity, -kInfinity, kNaN, kNaN, 0}, 0);
    EXPECT_NEAR("remainder", apply(&K::remainder, dtype, dtype, a, b), {1, 2, -2, -1, kNaN, kNaN, kNaN, kNaN, 1}, 0);
  }
  EXPECT_NEAR("uint8", apply(&K::floor_divide, DType::uint8, DType::uint8, {255, 7}, {2, 0}), {127, 0}, 0);
}

TEST(integers_wrap_around) {
  using K = Kernels;
  EXPECT_NEAR("add", apply(&K::add, DType::int8, DType::int8, {127, -128}, {1, -1}), {-128, 127}, 0);
  EXPECT_NEAR("multiply", apply(&K::multiply, DType::int32, DType::int32, {65536, 46341}, {65536, 46341}),
              {0, -2147479015.0}, 0);
  EXPECT_NEAR("negate", apply(&K::negate, DType::int8, {-128, 5}), {-128, -5}, 0);
  EXPECT_NEAR("abs", apply(&K::abs, DType::int32, {-2147483648.0, -5}), {-2147483648.0, 5}, 0);
}

TEST(nan_and_infinity) {
  using K = Kernels;
  for (DType dtype : testing::kFloatingDTypes) {
    const std::vector<double> a = {kNaN, 1, kInfinity, -kInfinity}, b = {1, kNaN, -kInfinity, 0};
    EXPECT_NEAR("maximum", apply(&K::maximum, dtype, dtype, a, b), {kNaN, kNaN, kInfinity, 0}, 0);
    EXPECT_NEAR("minimum", apply(&K::minimum, dtype, dtype, a, b), {kNaN, kNaN, -kInfinity, -kInfinity}, 0);
    EXPECT_NEAR("relu", apply(&K::relu, dtype, a), {kNaN, 1, kInfinity, 0}, 0);
    EXPECT_NEAR("add_relu", apply(&K::add_relu, dtype, dtype, a, b), {kNaN, kNaN, kNaN, 0}, 0);
    EXPECT_NEAR("sign", apply(&K::sign, dtype, a), {kNaN, 1, 1, -1}, 0);
    EXPECT_NEAR("exp", apply(&K::exp, dtype, a), {kNaN, std::exp(1), kInfinity, 0}, testing::epsilon(dtype));
    EXPECT_NEAR("log", apply(&K::log, dtype, {kNaN, 0, kInfinity, -1}), {kNaN, -kInfinity, kInfinity, kNaN}, 0);
    EXPECT_NEAR("tanh", apply(&K::tanh, dtype, {kNaN, kInfinity, -kInfinity}), {kNaN, 1, -1}, 0);
    EXPECT_NEAR("sigmoid", apply(&K::sigmoid, dtype, {kNaN, kInfinity, -kInfinity}), {kNaN, 1, 0}, 0);
    EXPECT_NEAR("erf", apply(&K::erf, dtype, {kNaN, kInfinity, -kInfinity}), {kNaN, 1, -1}, 0);
    EXPECT_NEAR("gelu", apply(&K::gelu, dtype, {kNaN, kInfinity, -kInfinity, 1024, -1024}),
                {kNaN, kInfinity, 0, 1024, 0}, 0);
    EXPECT_NEAR("gelu_backward",
                apply(&K::gelu_backward, dtype, dtype, {2, 2, 2, 2, kInfinity, kNaN},
                      {kNaN, kInfinity, -kInfinity, -1e4, 1, 1}),
                {kNaN, 2, 0, 0, kInfinity, kNaN}, 0);
    EXPECT_NEAR("sin", apply(&K::sin, dtype, {kNaN, kInfinity, 0}), {kNaN, kNaN, 0}, 0);
    EXPECT_NEAR("equal", apply(&K::equal, dtype, DType::boolean, {kNaN, 1, kInfinity}, {kNaN, 1, kInfinity}), {0, 1, 1},
                0);
    EXPECT_NEAR("not_equal", apply(&K::not_equal, dtype, DType::boolean, {kNaN, 1}, {kNaN, 1}), {1, 0}, 0);
    EXPECT_NEAR("less", apply(&K::less, dtype, DType::boolean, {kNaN, 1, 1}, {1, kNaN, 2}), {0, 0, 1}, 0);
    EXPECT_NEAR("less_equal", apply(&K::less_equal, dtype, DType::boolean, {1, 2}, {1, 1}), {1, 0}, 0);
  }
  const Array tiny = Array::scalar(-0.0, DType::float32), out = compact(DType::float32, {});
  cpu::kernels(highest_level()).sqrt(tiny, out);
  EXPECT(std::signbit(*out.data<float>()));
}

TEST(powers) {
  using K = Kernels;
  EXPECT_NEAR(
      "int32",
      apply(&K::power, DType::int32, DType::int32, {2, -3, 0, 5, 2, 1, -1, -1, 0}, {10, 3, 0, 0, -1, -5, -5, -4, -1}),
      {1024, -27, 1, 1, 0, 1, -1, 1, 0}, 0);
  // A scalar exponent takes a short cut; it must say the same as the general way, for infinities and signed zeros, too.
  const std::vector<double> bases = {2, 0.3, -2, 0, -0.0, 1, kInfinity, -kInfinity, kNaN, 1e-20, 1e20};
  for (DType dtype : {DType::float32, DType::float64})
    for (double exponent : {0.0, 1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 2.5, -3.0}) {
      const Array a = compact(dtype, {11}), out = compact(dtype, {11});
      size_t i = 0;
      testing::fill(a, [&] { return bases[i++]; });
      cpu::kernels(highest_level()).power(a, Array::scalar(exponent, dtype), out);
      const auto general = apply(&K::power, dtype, dtype, bases, std::vector<double>(bases.size(), exponent));
      const std::vector<double> met = values(out);
      EXPECT_NEAR("power", met, general, 2 * testing::epsilon(dtype));
      for (size_t j = 0; j < met.size(); ++j)
        EXPECT(std::signbit(met[j]) == std::signbit(general[j]) || std::isnan(met[j]));
    }
}

TEST(bool_is_zero_or_one) {
  using K = Kernels;
  const DType b = DType::boolean;
  const std::vector<double> left = {0, 0, 1, 1}, right = {0, 1, 0, 1};
  EXPECT_NEAR("add", apply(&K::add, b, b, left, right), {0, 1, 1, 1}, 0);
  EXPECT_NEAR("multiply", apply(&K::multiply, b, b, left, right), {0, 0, 0, 1}, 0);
  EXPECT_NEAR("logical_and", apply(&K::logical_and, b, b, left, right), {0, 0, 0, 1}, 0);
  EXPECT_NEAR("logical_or", apply(&K::logical_or, b, b, left, right), {0, 1, 1, 1}, 0);
  EXPECT_NEAR("logical_xor", apply(&K::logical_xor, b, b, left, right), {0, 1, 1, 0}, 0);
  EXPECT_NEAR("logical_not", apply(&K::logical_not, b, left), {1, 1, 0, 0}, 0);
  EXPECT_NEAR("less", apply(&K::less, b, b, left, right), {0, 1, 0, 0}, 0);
  // A byte that is neither, from memory of somebody else's.
  const Array odd = compact(DType::uint8, {2}), out = compact(b, {2});
  odd.data<uint8_t>()[0] = 2;
  const Array as_bool(odd.buffer, b, 1, odd.shape, odd.strides, odd.offset);
  cpu::kernels(highest_level()).logical_or(as_bool, as_bool, out);
  EXPECT_EQ(int{reinterpret_cast<uint8_t*>(out.data<bool>())[0]}, 1);
}

TEST(where_picks) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(3);
    for (DType dtype : testing::kAllDTypes)
      for (Layout layout : testing::kLayouts) {
        const Shape shape{5, 40, 9};
        const Array condition = strided(DType::boolean, shape, layout), a = strided(dtype, shape, Layout::permuted),
                    b = Array::scalar(int64_t{1}, dtype), out = compact(dtype, shape);
        random.fill(condition);
        random.fill(a);
        kernels.where(condition, a, b, out);
        const std::vector<double> choice = values(condition);
        std::vector<double> expected = values(a);
        for (size_t i = 0; i < expected.size(); ++i)
          if (choice[i] == 0) expected[i] = 1;
        EXPECT_NEAR("where", values(out), expected, 0);
      }
  });
}

TEST(numbers_beside_half_types_keep_their_value) {
  testing::for_each_level([](const Kernels& kernels) {
    for (DType dtype : {DType::float16, DType::bfloat16})
      for (const Shape& shape : {Shape{1}, Shape{700}, Shape{3, 50}}) {
        const Array a = strided(dtype, shape, Layout::sliced), wide = compact(DType::float32, shape);
        const Array out = compact(dtype, shape), expected = compact(dtype, shape),
                    is_less = compact(DType::boolean, shape);
        Random random(6);
        testing::fill(a, [&] { return random.normal() * 1e-3; });
        for (double number : {1e5, 0.1, 3.0e-9, -2.0}) {
          const Array half = Array::scalar(number, dtype), single = Array::scalar(number, DType::float32);
          for (BinaryKernel kernel : {&Kernels::multiply, &Kernels::add, &Kernels::divide, &Kernels::power}) {
            kernels.copy(a, wide);
            (kernels.*kernel)(wide, single, wide);
            kernels.copy(wide, expected);
            (kernels.*kernel)(a, half, out);
            EXPECT_NEAR(name(dtype), values(out), values(expected), 0);
          }
          kernels.less(half, a, is_less);
          std::vector<double> less = values(a);
          for (double& value : less) value = static_cast<float>(number) < value;
          EXPECT_NEAR("less", values(is_less), less, 0);
        }
      }
  });
}

// float32 would round these to the middle of two numbers of the half type, and that to the even one of them.
TEST(numbers_are_rounded_once) {
  testing::for_each_level([](const Kernels& kernels) {
    const Array yes = compact(DType::boolean, {1});
    testing::fill(yes, [] { return 1; });
    for (DType dtype : {DType::float16, DType::bfloat16}) {
      const double unit = testing::epsilon(dtype), number = 1 + unit / 2 + 0x1p-40;
      const Array out = compact(dtype, {1}), doubles = compact(DType::float64, {1});
      const auto expect_rounded = [&](const char* what) { EXPECT_NEAR(what, values(out), {1 + unit}, 0); };
      kernels.copy(Array::scalar(number, dtype), out);
      expect_rounded("copy of a number");
      kernels.where(yes, Array::scalar(number, dtype), Array::scalar(0.0, dtype), out);
      expect_rounded("where");
      testing::fill(doubles, [&] { return number; });
      kernels.copy(doubles, out);
      expect_rounded("copy of an array");
    }
  });
}

TEST(out_may_be_an_operand) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(4);
    for (DType dtype : testing::kFloatingDTypes)
      for (Layout layout : testing::kWritableLayouts) {
        const Array a = strided(dtype, {70, 200}, layout);
        random.fill(a);
        std::vector<double> expected = values(a);
        for (double& value : expected) value *= 2;
        kernels.add(a, a, a);
        EXPECT_NEAR("add in place", values(a), expected, 0);
      }
  });
}

TEST(threads_do_not_change_results) {
  Random random(5);
  const Array a = strided(DType::float32, {300, 1000}, Layout::permuted), out = compact(DType::float32, {300, 1000});
  random.fill(a);
  const auto result = [&] {
    cpu::kernels(highest_level()).exp(a, out);
    return values(out);
  };
  EXPECT_SAME_WITH_THREADS(result, 1, 2, 5);
}

TEST(mistakes_are_named_and_touch_nothing) {
  const Array f = compact(DType::float32, {2, 3}), g = compact(DType::float32, {3, 2}),
              i = compact(DType::int32, {2, 3}), b = compact(DType::boolean, {2, 3});
  EXPECT_THROW(ShapeError, "add: b has shape (3, 2) and out has shape (2, 3)", check::add(f, g, f));
  EXPECT_THROW(DTypeError, "add: a is float32 and b is int32", check::add(f, i, f));
  EXPECT_THROW(DTypeError, "exp: a is int32, expected a floating dtype", check::exp(i, i));
  EXPECT_THROW(DTypeError, "subtract: a is bool, expected a number", check::subtract(b, b, b));
  EXPECT_THROW(DTypeError, "less: out is float32, expected bool", check::less(f, f, f));
  EXPECT_THROW(DTypeError, "logical_not: a is float32, expected bool", check::logical_not(f, b));
  EXPECT_THROW(DTypeError, "where: condition is float32, expected bool", check::where(f, f, f, f));
  EXPECT_NEAR("f", values(f), std::vector<double>(6, 0.0), 0);
}

}  // namespace
}  // namespace needle
