// The index arithmetic of the CUDA kernels, which runs on the host as well.
#include "kernels/cuda/index.h"

#include <vector>

#include "kernels/testing/check.h"

namespace needle::cuda {
namespace {

TEST(a_divisor_divides) {
  testing::Random random(1);
  std::vector<uint32_t> extents = {1, 2, 3, 5, 7, 10, 641, 65535, 65536, 65537, 0x7ffffffe, 0x7fffffff};
  for (int shift = 0; shift < 31; ++shift) extents.push_back(1u << shift);
  for (int i = 0; i < 2000; ++i) extents.push_back(static_cast<uint32_t>(random.integer(1, 0x7fffffff)));
  for (uint32_t extent : extents) {
    const Divisor divisor(extent);
    std::vector<uint32_t> numbers = {0, 1, extent - 1, 0x7ffffffe, 0x7fffffff};
    if (extent < 0x7fffffff) numbers.push_back(extent + 1);
    for (int i = 0; i < 100; ++i) {
      const auto multiple = static_cast<uint32_t>(random.integer(0, 0x7fffffff / extent)) * extent;
      numbers.insert(numbers.end(), {multiple, multiple ? multiple - 1 : 0});
      numbers.push_back(static_cast<uint32_t>(random.integer(0, 0x7fffffff)));
    }
    for (uint32_t number : numbers)
      if (divisor.divide(number) != number / extent) {
        EXPECT_EQ(number, extent);  // which prints them
        EXPECT_EQ(divisor.divide(number), number / extent);
      }
  }
}

TEST(positions_lie_where_a_cursor_finds_them) {
  for (testing::Layout layout : testing::kLayouts) {
    const Array a = testing::strided(DType::float32, {5, 1, 7, 3}, layout),
                b = testing::strided(DType::float64, {5, 1, 7, 3}, layout);
    const Array* arrays[] = {&a, &b};
    const Plan plan(arrays, 2, kAllAxes);
    const Strides<2> strides(plan);
    for (uint32_t position = 0; position < plan.size; ++position) {
      int64_t offset[2];
      strides.locate(position, offset);
      const Cursor cursor(plan, position);
      for (int k = 0; k < 2; ++k) EXPECT(plan.data[k] + offset[k] == cursor.pointer(k));
    }
  }
}

// Of 2^32 - 1 positions and more, no memory is needed to see how they are shared out.
TEST(many_positions_are_shared_out) {
  const Array one = testing::compact(DType::uint8, {1});
  const Array wide(one.buffer, DType::uint8, 3, {3, (int64_t{1} << 31) + 5, 1}, {0, 0, 0}, 0);
  const Array* arrays[] = {&wide};
  Plan plan(arrays, 1, kAllAxes);
  plan.stride[0][0] = 1;  // as if every position were a byte of its own
  const std::byte* begin = plan.data[0];
  int64_t next = 0;
  for_each_part(plan, [&](const Plan& part) {
    EXPECT(part.size <= kMostPositions);
    EXPECT_EQ(part.data[0] - begin, next);
    next += part.size;
  });
  EXPECT_EQ(next, plan.size);
}

}  // namespace
}  // namespace needle::cuda
