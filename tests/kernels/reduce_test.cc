// Reductions over every set of axes, layout and dtype against a plain loop.
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

Shape reduced_shape(Shape shape, unsigned axes) {
  for (size_t d = 0; d < shape.size(); ++d)
    if (axes >> d & 1) shape[d] = 1;
  return shape;
}

// The elements that fold into each result, in row-major order.
std::vector<std::vector<double>> groups_of(const Array& a, unsigned axes) {
  const std::vector<double> elements = values(a);
  Shape shape(a.shape.begin(), a.shape.begin() + a.ndim);
  int64_t count = 1;
  for (int64_t extent : reduced_shape(shape, axes)) count *= extent;
  std::vector<std::vector<double>> groups(count);
  for (size_t i = 0; i < elements.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), group = 0, step = 1;
    for (int d = a.ndim - 1; d >= 0; --d) {
      if (!(axes >> d & 1)) {
        group += rest % shape[d] * step;
        step *= shape[d];
      }
      rest /= shape[d];
    }
    groups[group].push_back(elements[i]);
  }
  return groups;
}

// The shapes take runs and columns, one block and many.
const Shape kShapes[] = {{7}, {5000}, {3, 4, 5}, {40, 70}, {2, 700, 3}, {900, 80}};

TEST(sum_max_and_min) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (const Shape& shape : kShapes)
      for (unsigned axes = 0; axes < 1u << shape.size(); ++axes)
        for (DType dtype : testing::kAllDTypes) {
          const Array a = strided(dtype, shape, testing::kLayouts[random.integer(0, 4)]);
          random.fill(a);
          const Array out = strided(dtype, reduced_shape(shape, axes), testing::kWritableLayouts[random.integer(0, 3)]);
          const auto groups = groups_of(a, axes);
          std::vector<double> sums, maxima, minima;
          double magnitude = 0;
          for (const auto& group : groups) {
            long double sum = 0;  // whose own rounding does not count
            double largest = group[0], smallest = group[0], absolute = 0;
            for (double value : group) {
              sum += value, absolute += std::fabs(value);
              largest = std::fmax(largest, value), smallest = std::fmin(smallest, value);
            }
            if (dtype == DType::int8) sum = static_cast<int8_t>(static_cast<int64_t>(sum));
            if (dtype == DType::uint8) sum = static_cast<uint8_t>(static_cast<int64_t>(sum));
            sums.push_back(static_cast<double>(sum)), maxima.push_back(largest), minima.push_back(smallest);
            magnitude = std::fmax(magnitude, absolute);
          }
          kernels.max(a, out);
          EXPECT_NEAR("max", values(out), maxima, 0);
          kernels.min(a, out);
          EXPECT_NEAR("min", values(out), minima, 0);
          if (dtype == DType::boolean) continue;
          if (is_floating_dtype(dtype)) {
            std::vector<double> squares;
            for (const auto& group : groups) {
              double sum = 0;
              for (double value : group) sum += value * value;
              squares.push_back(sum);
            }
            const Array sum = strided(dtype == DType::float64 ? DType::float64 : DType::float32,
                                      reduced_shape(shape, axes), testing::kWritableLayouts[random.integer(0, 3)]);
            kernels.sum_of_squares(a, sum);
            EXPECT_NEAR("sum_of_squares", values(sum), squares, dtype == DType::float64 ? 1e-13 : 1e-6);
          }
          kernels.sum(a, out);
          // float32 grows by 64 additions in a row, which all round the same way where a broadcast repeats one element
          const double rounding = dtype == DType::float64 ? 1e-14 : 2e-6;
          EXPECT_NEAR("sum", values(out), sums, testing::epsilon(dtype), rounding * magnitude);
        }
  });
}

TEST(argmax_and_argmin_take_the_first) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(2);
    for (const Shape& shape : kShapes)
      for (size_t axis = 0; axis < shape.size(); ++axis)
        for (DType dtype : testing::kAllDTypes) {
          const Array a = strided(dtype, shape, testing::kLayouts[random.integer(0, 4)]);
          const int64_t most = dtype == DType::boolean ? 1 : 20;  // few numbers, so that there are equals
          testing::fill(a, [&] { return static_cast<double>(random.integer(0, most)); });
          const Array out =
              strided(DType::int64, reduced_shape(shape, 1u << axis), testing::kWritableLayouts[random.integer(0, 3)]);
          std::vector<double> first_largest, first_smallest;
          for (const auto& group : groups_of(a, 1u << axis)) {
            size_t largest = 0, smallest = 0;
            for (size_t i = 1; i < group.size(); ++i) {
              if (group[i] > group[largest]) largest = i;
              if (group[i] < group[smallest]) smallest = i;
            }
            first_largest.push_back(static_cast<double>(largest));
            first_smallest.push_back(static_cast<double>(smallest));
          }
          kernels.argmax(a, out);
          EXPECT_NEAR("argmax", values(out), first_largest, 0);
          kernels.argmin(a, out);
          EXPECT_NEAR("argmin", values(out), first_smallest, 0);
        }
  });
}

// NaN at every place of a run and of a column, among numbers on both sides.
TEST(nan_is_handed_on) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(3);
    for (DType dtype : testing::kFloatingDTypes)
      for (int64_t length : {1, 5, 40, 200, 3000})
        for (bool column : {false, true}) {
          const Shape shape = column ? Shape{length, 3} : Shape{3, length};
          const Array a = compact(dtype, shape);
          random.fill(a);
          const int64_t at = random.integer(0, length - 1), position = column ? at * 3 + 1 : length + at;
          int64_t i = 0;
          const std::vector<double> plain = values(a);
          testing::fill(a, [&] { return i++ == position ? NAN : plain[i - 1]; });
          const Shape result = column ? Shape{1, 3} : Shape{3, 1};
          const Array out = compact(dtype, result), place = compact(DType::int64, result);
          kernels.max(a, out);
          EXPECT(std::isnan(values(out)[1]) && !std::isnan(values(out)[0]) && !std::isnan(values(out)[2]));
          kernels.min(a, out);
          EXPECT(std::isnan(values(out)[1]) && !std::isnan(values(out)[0]) && !std::isnan(values(out)[2]));
          kernels.argmax(a, place);
          EXPECT_EQ(values(place)[1], static_cast<double>(at));
          kernels.argmin(a, place);
          EXPECT_EQ(values(place)[1], static_cast<double>(at));
        }
  });
}

TEST(long_float32_sums_are_exact_to_their_last_digits) {
  testing::for_each_level([](const Kernels& kernels) {
    const int64_t rows = 1 << 20, columns = 12;
    const Array a = compact(DType::float32, {rows, columns});
    Random random(4);
    testing::fill(a, [&] { return random.integer(0, 1 << 24) * 0x1p-24; });  // a float32 sum loses its digits here
    double exact = 0;
    std::vector<double> exact_columns(columns, 0);
    for (int64_t i = 0; i < a.size(); ++i)
      exact += a.data<float>()[i], exact_columns[i % columns] += a.data<float>()[i];
    const Array all = compact(DType::float32, {1, 1}), each = compact(DType::float32, {1, columns});
    kernels.sum(a, all);
    EXPECT_NEAR("sum of all", values(all), {exact}, 2e-7);
    kernels.sum(a, each);
    EXPECT_NEAR("sum of columns", values(each), exact_columns, 2e-7);
  });
}

// 100 float16 numbers of 1000 add up to more than float16 holds.
TEST(sums_of_half_types_may_be_float32) {
  testing::for_each_level([](const Kernels& kernels) {
    for (DType dtype : {DType::float16, DType::bfloat16})
      for (Layout layout : testing::kLayouts) {
        const Array a = strided(dtype, {3, 100}, layout), out = compact(DType::float32, {3, 1});
        testing::fill(a, [] { return 1000; });
        kernels.sum(a, out);
        EXPECT_NEAR(name(dtype), values(out), {100000, 100000, 100000}, 0);
      }
    EXPECT_THROW(DTypeError, "sum: a is float16 and out is float64",
                 check::sum(compact(DType::float16, {2}), compact(DType::float64, {1})));
    EXPECT_THROW(DTypeError, "sum: a is float32 and out is float16",
                 check::sum(compact(DType::float32, {2}), compact(DType::float16, {1})));
  });
}

TEST(threads_do_not_change_results) {
  Random random(5);
  const Array a = strided(DType::float32, {1000, 600}, Layout::permuted);
  random.fill(a);
  for (unsigned axes : {1u, 2u, 3u}) {
    const Array out = compact(DType::float32, reduced_shape({1000, 600}, axes));
    const auto result = [&] {
      cpu::kernels(highest_level()).sum(a, out);
      return values(out);
    };
    EXPECT_SAME_WITH_THREADS(result, 1, 2, 3, 8);
  }
}

TEST(nothing_sums_to_zero_and_has_no_maximum) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array empty = compact(DType::float32, {0, 3}), out = compact(DType::float32, {1, 3}),
              place = compact(DType::int64, {1, 3}), none = compact(DType::float32, {0, 1});
  testing::fill(out, [] { return 5.0; });
  EXPECT_THROW(ShapeError, "max: a has shape (0, 3), expected at least one element", check::max(empty, out));
  EXPECT_THROW(ShapeError, "argmin: a has shape (0, 3)", check::argmin(empty, place));
  EXPECT_NEAR("untouched", values(out), {5, 5, 5}, 0);
  kernels.sum(empty, out);
  EXPECT_NEAR("sum", values(out), {0, 0, 0}, 0);
  kernels.max(empty, none);  // no results, so none is missing
}

TEST(mistakes_are_named) {
  const Array a = compact(DType::float32, {2, 3}), wrong = compact(DType::float32, {2, 2}),
              all = compact(DType::int64, {1, 1}), boolean = compact(DType::boolean, {2});
  EXPECT_THROW(ShapeError, "sum: a has shape (2, 3) and out (2, 2)", check::sum(a, wrong));
  EXPECT_THROW(ShapeError, "argmax: a has shape (2, 3) and out (1, 1), expected one reduced axis",
               check::argmax(a, all));
  EXPECT_THROW(DTypeError, "sum: a is bool", check::sum(boolean, compact(DType::boolean, {1})));
  EXPECT_THROW(DTypeError, "argmax: out is float32, expected int64", check::argmax(a, compact(DType::float32, {1, 3})));
}

}  // namespace
}  // namespace needle
