// Rows picked by number, and their sums by number.
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

TEST(gather_and_scatter_add) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kAllDTypes)
      for (const Shape& index_shape : {Shape{}, Shape{5}, Shape{0, 2}, Shape{20, 3}})
        for (int64_t width : {0, 1, 70, 700})
          for (Layout layout : testing::kLayouts) {
            const int64_t rows = 6;
            const Array indices = strided(width == 70 ? DType::int32 : DType::int64, index_shape, layout);
            testing::fill(indices, [&] { return static_cast<double>(random.integer(0, rows - 1)); });
            Shape shape = index_shape;
            shape.push_back(width);
            const Array table = strided(dtype, {rows, width}, layout);
            const Array picked = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
            random.fill(table);
            const Values numbers = values(indices), before = values(table);
            Values expected;
            for (double row : numbers)
              for (int64_t c = 0; c < width; ++c) expected.push_back(before[static_cast<int64_t>(row) * width + c]);
            kernels.gather(table, indices, picked);
            EXPECT_NEAR("gather", values(picked), expected, 0);

            if (dtype == DType::boolean || layout == Layout::broadcast) continue;
            random.fill(picked);
            const Values added = values(picked);
            Values sums = before;
            for (size_t i = 0; i < added.size(); ++i)
              sums[static_cast<int64_t>(numbers[i / width]) * width + i % width] += added[i];
            if (dtype == DType::int8)
              for (double& sum : sums) sum = static_cast<int8_t>(static_cast<int64_t>(sum));
            if (dtype == DType::uint8)
              for (double& sum : sums) sum = static_cast<uint8_t>(static_cast<int64_t>(sum));
            kernels.scatter_add(picked, indices, table);
            EXPECT_NEAR("scatter_add", values(table), sums, testing::epsilon(dtype), 32 * testing::epsilon(dtype));
          }
  });
}

// A thousand small numbers that a half type would each round away.
TEST(half_type_sums_are_rounded_once) {
  for (DType dtype : {DType::float16, DType::bfloat16}) {
    const Array a = compact(dtype, {1024, 1}), indices = compact(DType::int64, {1024}), out = compact(dtype, {1, 1});
    testing::fill(a, [] { return 0x1p-10; });
    testing::fill(out, [] { return 16.0; });
    cpu::kernels(highest_level()).scatter_add(a, indices, out);
    EXPECT_NEAR(name(dtype), values(out), {17}, 0);
  }
}

TEST(threads_do_not_change_results) {
  Random random(2);
  const Array a = compact(DType::float32, {3000, 200}), indices = compact(DType::int64, {3000}),
              out = compact(DType::float32, {10, 200});
  random.fill(a);
  testing::fill(indices, [&] { return static_cast<double>(random.integer(0, 9)); });
  const auto result = [&] {
    testing::fill(out, [] { return 0.0; });
    cpu::kernels(highest_level()).scatter_add(a, indices, out);
    return values(out);
  };
  EXPECT_SAME_WITH_THREADS(result, 1, 2, 5);
}

TEST(mistakes_are_named_before_anything_is_written) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array table = compact(DType::float32, {4, 2}), picked = compact(DType::float32, {3, 2}),
              indices = compact(DType::int32, {3}), floats = compact(DType::float32, {3}),
              wide = compact(DType::float32, {3, 5});
  testing::fill(table, [] { return 1.0; });
  testing::fill(picked, [] { return 2.0; });
  indices.data<int32_t>()[1] = 4;
  EXPECT_THROW(ShapeError, "gather: index 4 at position 1, expected 0 to 3", kernels.gather(table, indices, picked));
  indices.data<int32_t>()[1] = -1;
  EXPECT_THROW(ShapeError, "scatter_add: index -1 at position 1, expected 0 to 3",
               kernels.scatter_add(picked, indices, table));
  EXPECT_NEAR("table", values(table), Values(8, 1.0), 0);
  EXPECT_NEAR("picked", values(picked), Values(6, 2.0), 0);
  EXPECT_THROW(DTypeError, "indices is float32, expected int32 or int64", check::gather(table, floats, picked));
  indices.data<int32_t>()[1] = 0;
  EXPECT_THROW(ShapeError, "expected one width, met 2 and 5", check::gather(table, indices, wide));
}

}  // namespace
}  // namespace needle
