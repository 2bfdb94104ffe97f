// Copies between all layouts and dtypes.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/common/dispatch.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Layout;
using testing::Shape;
using testing::strided;
using testing::values;

TEST(every_layout_to_every_layout) {
  testing::for_each_level([](const Kernels& kernels) {
    testing::Random random(1);
    for (DType dtype : testing::kAllDTypes)
      for (const Shape& shape : {Shape{}, Shape{0, 2}, Shape{1000}, Shape{70, 130}, Shape{3, 20, 5, 33}})
        for (Layout from : testing::kLayouts)
          for (Layout to : testing::kWritableLayouts) {
            const Array a = strided(dtype, shape, from), out = strided(dtype, shape, to);
            random.fill(a);
            kernels.copy(a, out);
            EXPECT_NEAR(name(dtype), values(out), values(a), 0);
          }
  });
}

// What the conversion of a float64 to a type should be.
double converted(double value, DType dtype) {
  const auto clamped = [&](double low, double high) {
    return std::isnan(value) ? 0 : std::fmax(low, std::fmin(high, std::trunc(value)));
  };
  switch (dtype) {
    case DType::int8: return clamped(-128, 127);
    case DType::uint8: return clamped(0, 255);
    case DType::int32: return clamped(-2147483648.0, 2147483647.0);
    case DType::int64: return clamped(-0x1p63, 0x1p63);  // the largest int64 is 2^63 as a float64
    case DType::boolean: return value != 0;
    default: return value;
  }
}

TEST(floats_to_integers_truncate_and_saturate) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> numbers = {
      0,       0.9,   -0.9,  1.5,    -1.5,    127.9,     128,        -128.9,
      -129,    255.9, 256,   1000,   -1e5,    3e9,       -3e9,       0x1p31,
      -0x1p31, 1e20,  -1e20, 0x1p63, -0x1p63, kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()};
  testing::for_each_level([&](const Kernels& kernels) {
    for (DType from : testing::kFloatingDTypes)
      for (DType to : {DType::int8, DType::uint8, DType::int32, DType::int64, DType::boolean}) {
        const Shape shape{static_cast<int64_t>(numbers.size())};
        const Array a = compact(from, shape), out = compact(to, shape);
        size_t i = 0;
        testing::fill(a, [&] { return numbers[i++]; });
        kernels.copy(a, out);
        std::vector<double> expected = values(a);  // already rounded to `from`
        for (double& value : expected) value = converted(value, to);
        EXPECT_NEAR(std::string(name(from)) + " to " + name(to), values(out), expected, 0);
      }
  });
}

TEST(integers_wrap_and_become_floats) {
  testing::for_each_level([](const Kernels& kernels) {
    const Array a = compact(DType::int32, {4}), narrow = compact(DType::int8, {4}),
                unsigned_narrow = compact(DType::uint8, {4}), wide = compact(DType::int64, {4}),
                real = compact(DType::float64, {4}), half = compact(DType::float16, {4});
    const int32_t numbers[] = {-1, 300, 128, 2049};
    std::memcpy(a.data<int32_t>(), numbers, sizeof numbers);
    kernels.copy(a, narrow);
    kernels.copy(a, unsigned_narrow);
    kernels.copy(a, wide);
    kernels.copy(a, real);
    kernels.copy(a, half);
    EXPECT_NEAR("int8", values(narrow), {-1, 44, -128, 1}, 0);
    EXPECT_NEAR("uint8", values(unsigned_narrow), {255, 44, 128, 1}, 0);
    EXPECT_NEAR("int64", values(wide), {-1, 300, 128, 2049}, 0);
    EXPECT_NEAR("float64", values(real), {-1, 300, 128, 2049}, 0);
    EXPECT_NEAR("float16", values(half), {-1, 300, 128, 2048}, 0);
  });
}

// All 65536 numbers of each half type, there and back, in lengths that use registers and their remainders.
TEST(half_types_survive_float32) {
  testing::for_each_level([](const Kernels& kernels) {
    for (DType dtype : {DType::float16, DType::bfloat16}) {
      const Array half = compact(dtype, {65536}), wide = compact(DType::float32, {65536}),
                  back = compact(dtype, {65536});
      for (int i = 0; i < 65536; ++i) half.data<uint16_t>()[i] = static_cast<uint16_t>(i);
      kernels.copy(half, wide);
      kernels.copy(wide, back);
      EXPECT_NEAR(name(dtype), values(wide), values(half), 0);
      int different = 0;
      for (int i = 0; i < 65536; ++i)
        if (!std::isnan(wide.data<float>()[i])) different += half.data<uint16_t>()[i] != back.data<uint16_t>()[i];
      EXPECT_EQ(different, 0);
      EXPECT_NEAR("NaN", values(back), values(half), 0);
    }
  });
}

TEST(rounding_is_to_nearest_even) {
  testing::for_each_level([](const Kernels& kernels) {
    const std::vector<double> numbers = {2049, 2051, 2049.001, 65519, 65520, 0x1p-25, 0x1.8p-25, 1 + 0x1p-11 + 0x1p-40};
    const Array a = compact(DType::float64, {8}), half = compact(DType::float16, {8}),
                single = compact(DType::float32, {8}), brain = compact(DType::bfloat16, {8});
    size_t i = 0;
    testing::fill(a, [&] { return numbers[i++]; });
    kernels.copy(a, half);  // the last would round to 1 if it went by way of float32
    EXPECT_NEAR("float16", values(half), {2048, 2052, 2050, 65504, INFINITY, 0, 0x1p-24, 1 + 0x1p-10}, 0);
    kernels.copy(a, single);
    kernels.copy(single, brain);
    EXPECT_NEAR("bfloat16", values(brain), {2048, 2048, 2048, 65536, 65536, 0x1p-25, 0x1.8p-25, 1}, 0);
  });
}

}  // namespace
}  // namespace needle
