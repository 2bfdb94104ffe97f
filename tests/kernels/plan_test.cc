// The order in which strided arrays are visited.
#include "kernels/common/plan.h"

#include <vector>

#include "kernels/common/error.h"
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

// A view of nothing that begins, and steps, far outside its buffer.
Array nothing(DType dtype, const testing::Shape& shape) {
  Dims extents{}, steps{};
  for (size_t d = 0; d < shape.size(); ++d) extents[d] = shape[d], steps[d] = INT64_MAX - static_cast<int64_t>(d);
  return Array(testing::compact(dtype, {0}).buffer, dtype, static_cast<int>(shape.size()), extents, steps, INT64_MAX);
}

TEST(an_empty_array_begins_where_its_buffer_does) {
  const Array a = nothing(DType::float64, {3, 0, int64_t{1} << 50});
  EXPECT_EQ(first_byte(a), a.buffer->data());
  EXPECT_EQ(a.offset, 0);
  for (int d = 0; d < 3; ++d) EXPECT_EQ(a.strides[d], 0);
  EXPECT(a.is_compact());
  EXPECT_EQ(a.size(), 0);
  const Array* arrays[] = {&a, &a};
  EXPECT_EQ(Plan(arrays, 2, kAllAxes).size, 0);
}

TEST(an_axis_of_one_has_a_stride_that_can_be_stepped_along) {
  const Array a = testing::compact(DType::float32, {2, 3});
  const Array b = view(a, {1, 2, 1, 3, 1}, {INT64_MIN, 3, INT64_MAX, 1, -7});
  EXPECT_EQ(b.strides[4], 1);
  EXPECT_EQ(b.strides[2], 3);
  EXPECT_EQ(b.strides[0], 6);
  EXPECT(b.is_compact());
}

TEST(extents_that_64_bits_do_not_count) {
  const BufferPtr buffer = testing::compact(DType::boolean, {1}).buffer;
  const int64_t many = int64_t{1} << 32;
  for (const Dims& shape : {Dims{many, many, 1}, Dims{many, 0, many}, Dims{INT64_MAX, INT64_MAX, INT64_MAX}})
    EXPECT_THROW(ShapeError, "expected fewer than 2^57 elements", Array(buffer, DType::boolean, 3, shape, {}, 0));
  EXPECT_EQ(Array(buffer, DType::boolean, 2, {many, many >> 8}, {}, 0).size(), int64_t{1} << 56);
}

TEST(no_kernel_reads_or_writes_where_there_is_nothing) {
  testing::for_each_level([](const Kernels& kernels) {
    for (DType dtype : testing::kFloatingDTypes) {
      const auto none = [&](const testing::Shape& shape) { return nothing(dtype, shape); };
      const Array rows = none({0, 3}), columns = none({2, 0}), vector = none({0}), x = testing::compact(dtype, {2, 3});
      const Array labels = nothing(DType::int64, {0}), zeros = testing::compact(DType::int64, {2});
      const Array images = none({1, 4, 4, 0}), image = testing::compact(dtype, {1, 4, 4, 2});
      testing::fill(zeros, [] { return 0.0; });
      kernels.linear(x, none({3, 0}), vector, columns, true);
      kernels.matmul(x, none({3, 0}), columns);
      kernels.conv2d_bias(image, none({3, 3, 2, 0}), vector, none({1, 2, 2, 0}), 1, 0);
      kernels.conv2d_backward_weight(images, none({1, 4, 4, 0}), none({1, 1, 0, 0}), 1, 0);
      kernels.conv2d_backward_data(images, none({1, 1, 0, 0}), images, 1, 0);
      kernels.max_pool2d(images, none({1, 2, 2, 0}), 2, 2, 0);
      kernels.max_pool2d_backward(images, none({1, 2, 2, 0}), images, 2, 2, 0);
      const std::vector<Array> running = {vector, vector};
      kernels.batch_norm(columns, vector, vector, running, columns, vector, vector, 0.1, 0.1, false);
      kernels.batch_norm_inference(columns, vector, vector, vector, vector, columns, 0.1, true);
      kernels.batch_norm_backward(columns, columns, vector, vector, vector, vector, columns, vector, vector, 0.1, true);
      const Array width = testing::compact(dtype, {3});
      kernels.layer_norm(rows, width, width, rows, vector, vector, 0.1);
      kernels.layer_norm_backward(rows, rows, width, vector, vector, rows, width, width, 0.1);
      kernels.softmax(rows, rows);
      kernels.log_softmax(rows, rows);
      kernels.logsumexp(rows, vector);
      kernels.softmax_cross_entropy(rows, labels, vector);
      kernels.softmax_cross_entropy_backward(rows, labels, vector, rows);
      kernels.gather(x, labels, rows);
      kernels.scatter_add(rows, labels, x);
      kernels.scatter_add(columns, zeros, none({1, 0}));
      kernels.sum(rows, testing::compact(dtype, {1, 3}));
      kernels.sum(rows, testing::compact(dtype, {1, 1}));
      kernels.sum(rows, none({0, 1}));
      kernels.add(rows, rows, rows);
      kernels.copy(rows, rows);
      kernels.rnn(none({2, 0, 3}), testing::compact(dtype, {3, 3}), width, none({3, 0, 3}), false);
      kernels.random_normal(rows, 1, 2);
    }
  });
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
