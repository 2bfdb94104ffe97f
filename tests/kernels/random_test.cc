// Random numbers: the generator against its authors' known answers, and the kernels against the formulas of random.h.
#include "kernels/cpu/random.h"
#include "kernels/common/checks.h"

#include <cmath>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using cpu::NEEDLE_LEVEL::kWords;
using cpu::NEEDLE_LEVEL::philox;
using testing::compact;
using testing::Layout;
using testing::Shape;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

TEST(known_answers_of_random123) {
  const struct {
    uint64_t seed, offset, block;
    uint32_t words[4];
  } answers[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& answer : answers) {
    uint32_t words[kWords];
    philox(answer.seed, answer.offset, answer.block, words);
    for (int k = 0; k < 4; ++k) EXPECT_EQ(words[k], answer.words[k]);
    philox(answer.seed, answer.offset, answer.block - 5, words);  // the same block as the sixth of a batch
    for (int k = 0; k < 4; ++k) EXPECT_EQ(words[4 * 5 + k], answer.words[k]);
  }
}

// Words 0, 1, ... of (seed, offset), in the order of the blocks.
std::vector<uint32_t> words_of(uint64_t seed, uint64_t offset, int64_t count) {
  std::vector<uint32_t> all;
  uint32_t words[kWords];
  for (uint64_t block = 0; static_cast<int64_t>(all.size()) < count; block += kWords / 4) {
    philox(seed, offset, block, words);
    all.insert(all.end(), words, words + kWords);
  }
  return all;
}

double fraction(const std::vector<uint32_t>& words, size_t i) {  // of 53 bits
  return static_cast<double>((words[i] | static_cast<uint64_t>(words[i + 1]) << 32) >> 11) * 0x1p-53;
}

TEST(elements_follow_the_formulas) {
  constexpr int64_t kSeed = 0x123456789abcdef, kOffset = 7;
  const Shape shape{3, 50, 7};
  const int64_t size = 3 * 50 * 7;
  const std::vector<uint32_t> w = words_of(kSeed, kOffset, 2 * size);
  testing::for_each_level([&](const Kernels& kernels) {
    for (DType dtype : testing::kFloatingDTypes)
      for (Layout layout : testing::kWritableLayouts) {
        const Array out = strided(dtype, shape, layout);
        const bool wide = dtype == DType::float64;
        const int bits = dtype == DType::float16 ? 11 : dtype == DType::bfloat16 ? 8 : 24;
        Values uniform, normal, mask;
        for (int64_t i = 0; i < size; ++i) {
          uniform.push_back(wide ? fraction(w, 2 * i) : std::ldexp(w[i] >> (32 - bits), -bits));
          const int64_t even = i & ~int64_t{1};
          const double u = wide ? fraction(w, 2 * even) + 0x1p-53 : ((w[even] >> 8) + 1) * 0x1p-24;
          const double v = wide ? fraction(w, 2 * even + 2) : (w[even + 1] >> 8) * 0x1p-24;
          const double radius = std::sqrt(-2 * std::log(u)), angle = 2 * M_PI * v;
          normal.push_back(radius * (i & 1 ? std::sin(angle) : std::cos(angle)));
          mask.push_back((w[i] >> 8) < 0.3 * 0x1p24 ? 0 : 1 / 0.7);
        }
        kernels.random_uniform(out, kSeed, kOffset);
        EXPECT_NEAR("uniform", values(out), uniform, 0);
        kernels.random_normal(out, kSeed, kOffset);
        EXPECT_NEAR("normal", values(out), normal, 2 * testing::epsilon(dtype), wide ? 1e-14 : 2e-6);
        kernels.random_dropout_mask(out, 0.3, kSeed, kOffset);
        EXPECT_NEAR("mask", values(out), mask, testing::epsilon(dtype));
      }
  });
}

TEST(moments) {
  const int64_t size = 1 << 20;
  const Array out = compact(DType::float32, {size});
  const auto moments = [&] {
    double mean = 0, square = 0;
    for (double value : values(out)) mean += value / size, square += value * value / size;
    return std::pair{mean, square - mean * mean};
  };
  const Kernels& kernels = cpu::kernels(highest_level());
  kernels.random_uniform(out, 1, 0);
  const auto [uniform_mean, uniform_variance] = moments();
  EXPECT(std::fabs(uniform_mean - 0.5) < 2e-3 && std::fabs(uniform_variance - 1.0 / 12) < 1e-3);
  for (double value : values(out)) EXPECT(value >= 0 && value < 1);
  kernels.random_normal(out, 1, 0);
  const auto [normal_mean, normal_variance] = moments();
  EXPECT(std::fabs(normal_mean) < 5e-3 && std::fabs(normal_variance - 1) < 1e-2);
  kernels.random_dropout_mask(out, 0.25, 1, 0);
  EXPECT(std::fabs(moments().first - 1) < 5e-3);
}

TEST(seed_offset_and_threads) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array out = compact(DType::float32, {100001});
  const auto draw = [&](int64_t seed, int64_t offset, int threads) {
    set_num_threads(threads);
    kernels.random_normal(out, seed, offset);
    return values(out);
  };
  const Values first = draw(1, 2, 1);
  EXPECT(draw(1, 2, 3) == first);
  EXPECT(draw(1, 3, 1) != first);
  EXPECT(draw(2, 2, 1) != first);
  EXPECT(draw(-1, -1, 1) == draw(-1, -1, 2));
}

TEST(probabilities) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array out = compact(DType::float32, {1000});
  kernels.random_dropout_mask(out, 0, 1, 0);
  EXPECT_NEAR("nothing drops", values(out), Values(1000, 1.0), 0);
  kernels.random_dropout_mask(out, 1, 1, 0);
  EXPECT_NEAR("all drop", values(out), Values(1000, 0.0), 0);
  EXPECT_THROW(ShapeError, "p is 1.5, expected a probability from 0 to 1", check::random_dropout_mask(out, 1.5, 1, 0));
  EXPECT_THROW(ShapeError, "p is nan", check::random_dropout_mask(out, NAN, 1, 0));
  EXPECT_THROW(DTypeError, "random_uniform: out is int32", check::random_uniform(compact(DType::int32, {2}), 1, 0));
}

}  // namespace
}  // namespace needle
