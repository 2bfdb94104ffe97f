// The order in which strided arrays are visited.
#include "kernels/common/plan.h"

#include <vector>

#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::Layout;

Array view(const Array& a, const testing::Shape& shape, const testing::Shape& strides) {
  Dims extents{}, steps{};
  for (size_t d = 0; d < shape.size(); ++d) extents[d] = shape[d], steps[d] = strides[d];
  return Array(a.buffer, a.dtype, static_cast<int>(shape.size()), extents, steps, a.offset);
}

TEST(compact_arrays_become_one_dimension) {
  const Array a = testing::compact(DType::float32, {2, 3, 1, 5});
  const Array* arrays[] = {&a, &a};
  const Plan plan(arrays, 2, kAllAxes);
  EXPECT_EQ(plan.ndim, 1);
  EXPECT_EQ(plan.extent[0], 30);
  EXPECT_EQ(plan.stride[0][0], 4);
}

TEST(the_smallest_stride_is_innermost) {
  const Array a = testing::compact(DType::float32, {4, 6});
  const Array transposed = view(a, {6, 4}, {1, 6});
  const Array* arrays[] = {&transposed};
  const Plan plan(arrays, 1, kAllAxes);
  EXPECT_EQ(plan.ndim, 1);
  EXPECT_EQ(plan.extent[0], 24);
  const Array* both[] = {&transposed, &transposed, &a};
  EXPECT_EQ(Plan(both, 2, kAllAxes).ndim, 1);
}

TEST(a_broadcast_is_not_merged_with_what_is_not) {
  const Array out = testing::compact(DType::float64, {4, 6});
  const Array row = view(out, {4, 6}, {0, 1});
  const Array scalar = Array::scalar(1.0, DType::float64);
  const Array* arrays[] = {&out, &row, &scalar};
  const Plan plan(arrays, 3, kAllAxes);
  EXPECT_EQ(plan.ndim, 2);
  EXPECT_EQ(plan.extent[0], 6);
  EXPECT_EQ(plan.stride[1][1], 0);
  EXPECT_EQ(plan.stride[2][0], 0);
  const Array* merged[] = {&out, &scalar};
  EXPECT_EQ(Plan(merged, 2, kAllAxes).ndim, 1);
}

TEST(only_the_axes_asked_for) {
  const Array a = testing::compact(DType::float32, {2, 3, 5});
  const Array* arrays[] = {&a};
  EXPECT_EQ(Plan(arrays, 1, leading_axes(a)).size, 6);
  EXPECT_EQ(Plan(arrays, 1, 0b100).size, 5);
  EXPECT_EQ(Plan(arrays, 1, 0).size, 1);
}

TEST(empty_arrays_have_no_positions) {
  const Array a = testing::compact(DType::float32, {2, 0, 5});
  const Array* arrays[] = {&a};
  EXPECT_EQ(Plan(arrays, 1, kAllAxes).size, 0);
}

// Every element is visited once, from whichever position a cursor starts, in steps of any size.
TEST(a_cursor_visits_every_element) {
  for (Layout layout : testing::kWritableLayouts) {
    const Array a = testing::strided(DType::int32, {3, 4, 5}, layout);
    const Array other = testing::compact(DType::int32, {3, 4, 5});
    const Array* arrays[] = {&a, &other};
    const Plan plan(arrays, 2, kAllAxes);
    EXPECT_EQ(plan.size, 60);
    for (int64_t start : {0, 1, 7, 59}) {
      testing::fill(a, [] { return 0.0; });
      int64_t position = 0;
      while (position < 60) {
        const int64_t stop = position < start ? start : 60;
        Cursor cursor(plan, position);
        while (position < stop) {
          const int64_t n = std::min({cursor.remaining(), stop - position, int64_t{3}});
          for (int64_t i = 0; i < n; ++i) *reinterpret_cast<int32_t*>(cursor.pointer(0) + i * plan.stride[0][0]) += 1;
          cursor.advance(n);
          position += n;
        }
      }
      EXPECT_NEAR("visits", testing::values(a), std::vector<double>(60, 1.0), 0);
    }
  }
}

TEST(without_the_innermost_dimensions) {
  const Array a = testing::strided(DType::float32, {3, 4, 5}, Layout::sliced);
  const Array* arrays[] = {&a};
  const Plan plan(arrays, 1, 0b101);  // two dimensions that do not merge
  EXPECT_EQ(plan.ndim, 2);
  EXPECT_EQ(plan.without_innermost(1).size, 3);
  EXPECT_EQ(plan.without_innermost(2).size, 1);
}

}  // namespace
}  // namespace needle
