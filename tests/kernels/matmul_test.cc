// matmul against the triple loop of its definition, at every instruction level.
#include <array>
#include <limits>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;

namespace {

// What a dtype keeps of a sum: integers wrap around, bool is whether anything was true.
double kept(DType dtype, double sum) {
  switch (dtype) {
    case DType::int8: return static_cast<int8_t>(static_cast<int64_t>(sum));
    case DType::uint8: return static_cast<uint8_t>(static_cast<int64_t>(sum));
    case DType::boolean: return sum != 0;
    default: return sum;
  }
}

std::vector<double> reference(const Array& a, const Array& b) {
  const int64_t m = a.shape[a.ndim - 2], k = a.shape[a.ndim - 1], n = b.shape[b.ndim - 1];
  int64_t batch = 1;
  for (int d = 0; d < a.ndim - 2; ++d) batch *= a.shape[d];
  const std::vector<double> x = values(a), y = values(b);
  std::vector<double> out;
  for (int64_t s = 0; s < batch; ++s) {
    for (int64_t i = 0; i < m; ++i) {
      std::vector<double> row(n, 0.0);
      for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < n; ++j) row[j] += x[(s * m + i) * k + p] * y[(s * k + p) * n + j];
      for (double sum : row) out.push_back(kept(a.dtype, sum));
    }
  }
  return out;
}

// Halves are summed in float32 and rounded once.
void expect_product(const std::string& what, const Array& out, const std::vector<double>& expected, int64_t k) {
  if (!is_floating_dtype(out.dtype)) return EXPECT_NEAR(what, values(out), expected, 0);
  const double sum_epsilon = epsilon(out.dtype == DType::float64 ? DType::float64 : DType::float32);
  const double rounding = is_half_dtype(out.dtype) ? epsilon(out.dtype) / 2 : 0;
  EXPECT_NEAR(what, values(out), expected, rounding, 4 * sum_epsilon * (k + 4));
}

void expect_matmul(DType dtype, const Shape& leading, int64_t m, int64_t k, int64_t n,
                   Layout layout_a = Layout::compact, Layout layout_b = Layout::compact,
                   Layout layout_out = Layout::compact) {
  const auto shape = [&](int64_t rows, int64_t columns) {
    Shape all = leading;
    all.push_back(rows);
    all.push_back(columns);
    return all;
  };
  Random random(m * 1000003 + k * 1009 + n);
  const Array a = strided(dtype, shape(m, k), layout_a), b = strided(dtype, shape(k, n), layout_b);
  random.fill(a);
  random.fill(b);
  const std::vector<double> expected = reference(a, b);
  const Array out = strided(dtype, shape(m, n), layout_out);
  for_each_level([&](const Kernels& kernels) {
    fill(out, [] { return 1.0; });  // must be overwritten
    kernels.matmul(a, b, out);
    expect_product(std::string(name(dtype)) + " " + shape_string(a) + " @ " + shape_string(b), out, expected, k);
  });
}

std::string bits(const Array& a) {
  return std::string(reinterpret_cast<const char*>(a.buffer->data()), a.buffer->nbytes());
}

TEST(linear_is_a_product_a_bias_and_a_relu) {
  for_each_level([](const Kernels& kernels) {
    Random random(5);
    for (DType dtype : kFloatingDTypes)
      // tiles at the edge, one row, one column, nothing to sum, more depth and rows than a block
      for (const auto& [m, k, n] : std::vector<std::array<int64_t, 3>>{
               {5, 7, 9}, {1, 40, 70}, {33, 20, 1}, {13, 0, 40}, {0, 3, 4}, {200, 300, 50}, {24, 600, 64}})
        for (Layout layout : kLayouts) {
          const Array x = strided(dtype, {m, k}, layout), weight = strided(dtype, {k, n}, layout),
                      bias = strided(dtype, {n}, layout),
                      out = strided(dtype, {m, n}, kWritableLayouts[random.integer(0, 3)]);
          random.fill(x);
          random.fill(weight);
          random.fill(bias);
          std::vector<double> expected = reference(x, weight);
          const std::vector<double> b = values(bias);
          for (size_t i = 0; i < expected.size(); ++i) expected[i] += b[i % n];
          kernels.linear(x, weight, bias, out, false);
          expect_product("linear", out, expected, k);
          for (double& number : expected) number = std::max(number, 0.0);
          kernels.linear(x, weight, bias, out, true);
          expect_product("linear, relu", out, expected, k);
        }
  });
  const Array x = compact(DType::float32, {2, 3}), weight = compact(DType::float32, {3, 4}),
              out = compact(DType::float32, {2, 4});
  EXPECT_THROW(ShapeError, "linear: bias", check::linear(x, weight, compact(DType::float32, {3}), out, false));
  EXPECT_THROW(ShapeError, "linear: x has shape (2, 3), weight (3, 4) and out (3, 4)",
               check::linear(x, weight, compact(DType::float32, {4}), weight, false));
}

}  // namespace

TEST(every_dtype_and_layout) {
  for (DType dtype : kAllDTypes)
    for (Layout layout_a : kLayouts)
      for (Layout layout_b : kLayouts)
        for (Layout layout_out : kWritableLayouts) expect_matmul(dtype, {}, 14, 21, 37, layout_a, layout_b, layout_out);
}

// A product of every dtype that needs more than one block of rows, of depth and of columns.
TEST(more_than_one_block) {
  for (DType dtype : kAllDTypes) {
    expect_matmul(dtype, {}, 200, 300, 40);
    expect_matmul(dtype, {}, 13, 600, 1100, Layout::permuted, Layout::permuted);
  }
}

TEST(sizes_around_the_edges_of_tiles_and_blocks) {
  for (int64_t m : {1, 2, 5, 6, 7, 11, 12, 13, 24, 25})
    for (int64_t n : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65}) expect_matmul(DType::float32, {}, m, 5, n);
  for (int64_t k : {1, 2, 255, 256, 257, 511, 512, 513, 1000}) {
    expect_matmul(DType::float32, {}, 7, k, 19);
    expect_matmul(DType::float64, {}, 7, k, 19, Layout::permuted);
    expect_matmul(DType::bfloat16, {}, 7, k, 19, Layout::compact, Layout::permuted);
  }
  for (int64_t m : {191, 192, 193, 385}) expect_matmul(DType::float32, {}, m, 258, 33);
  for (int64_t n : {511, 512, 513, 1023, 1024, 1025}) expect_matmul(DType::float32, {}, 3, 7, n);
  for (int64_t n : {1024, 1030}) expect_matmul(DType::float32, {}, 193, 9, n);
}

// The pieces in which B is packed shrink as K grows.
TEST(long_sums) {
  for (DType dtype : {DType::float32, DType::float64, DType::float16, DType::int32}) {
    expect_matmul(dtype, {}, 3, 20000, 5);
    expect_matmul(dtype, {}, 2, 9000, 300, Layout::permuted);
  }
}

TEST(batches) {
  expect_matmul(DType::float32, {2, 3}, 5, 6, 7);
  expect_matmul(DType::float32, {500}, 4, 5, 3);      // dealt out whole
  expect_matmul(DType::float32, {3}, 130, 140, 150);  // one by one, by all threads
  expect_matmul(DType::bfloat16, {2, 1, 2}, 9, 300, 33, Layout::flipped, Layout::permuted, Layout::sliced);
  expect_matmul(DType::float32, {3, 2}, 5, 6, 7, Layout::broadcast, Layout::compact);
  expect_matmul(DType::float32, {3, 2}, 5, 6, 7, Layout::compact, Layout::broadcast);
  expect_matmul(DType::float32, {0, 2}, 5, 6, 7);
}

TEST(vectors) {
  for (DType dtype : kAllDTypes)
    for (Layout layout : kLayouts) {
      expect_matmul(dtype, {}, 1, 70, 150, Layout::compact, layout);
      expect_matmul(dtype, {}, 150, 70, 1, layout, Layout::compact, Layout::sliced);
      expect_matmul(dtype, {}, 1, 150, 1, layout, layout);
      expect_matmul(dtype, {3}, 1, 5000, 300, Layout::compact, layout);
    }
}

TEST(nothing_to_sum_gives_zeros) {
  for (DType dtype : kAllDTypes) expect_matmul(dtype, {2}, 13, 0, 35);
}

TEST(no_rows_or_columns) {
  for (DType dtype : kAllDTypes) {
    expect_matmul(dtype, {}, 0, 5, 4);
    expect_matmul(dtype, {}, 4, 5, 0);
    expect_matmul(dtype, {}, 0, 0, 0);
  }
}

TEST(integers_wrap) {
  const auto product = [](DType dtype, double left, double right) {
    const Array a = compact(dtype, {1, 2}), b = compact(dtype, {2, 1}), out = compact(dtype, {1, 1});
    fill(a, [&] { return left; });
    fill(b, [&] { return right; });
    std::vector<double> met;
    for_each_level([&](const Kernels& kernels) {
      kernels.matmul(a, b, out);
      met.push_back(values(out)[0]);
      EXPECT_EQ(met.back(), met.front());
    });
    return met[0];
  };
  EXPECT_EQ(product(DType::int8, 127, 127), 2.0);  // 2 * 127^2 = 126 * 256 + 2
  EXPECT_EQ(product(DType::uint8, 255, 255), 2.0);
  EXPECT_EQ(product(DType::int32, 0x1p30, 3), -0x1p31);  // 6 * 2^30
  EXPECT_EQ(product(DType::int64, 0x1p62, 3), -0x1p63);
  EXPECT_EQ(product(DType::int64, 0x1p40, 0x1p40), 0.0);
}

// Half sums must not stop growing where the half has no next number (2048 for float16, 256 for bfloat16).
TEST(halves_are_summed_in_float32) {
  for (DType dtype : {DType::float16, DType::bfloat16}) {
    const Array a = compact(dtype, {1, 4096}), b = compact(dtype, {4096, 1}), out = compact(dtype, {1, 1});
    fill(a, [] { return 1.0; });
    fill(b, [] { return 1.0; });
    for_each_level([&](const Kernels& kernels) {
      kernels.matmul(a, b, out);
      EXPECT_EQ(values(out)[0], 4096.0);
    });
  }
}

// What is not finite shows in the elements it belongs to and, although panels are filled up with zeros, in no others.
TEST(nan_and_infinity) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();
  for (DType dtype : kFloatingDTypes) {
    const Array a = compact(dtype, {13, 20}), b = compact(dtype, {20, 33}), out = compact(dtype, {13, 33});
    for (double special : {kInfinity, -kInfinity, kNaN}) {
      Random random(1);
      random.fill(a);
      random.fill(b);
      std::vector<double> x = values(a), y = values(b);
      x[12 * 20 + 19] = special;  // the last row, hence beside the zeros that fill the panel up
      y[19 * 33 + 32] = 0;        // infinity times 0 is NaN
      size_t i = 0;
      fill(a, [&] { return x[i++]; });
      i = 0;
      fill(b, [&] { return y[i++]; });
      const std::vector<double> expected = reference(a, b);
      EXPECT(std::isnan(expected[12 * 33 + 32]));
      for_each_level([&](const Kernels& kernels) {
        kernels.matmul(a, b, out);
        expect_product(name(dtype), out, expected, 20);
      });
    }
  }
}

TEST(result_does_not_depend_on_the_number_of_threads) {
  const int64_t sizes[][4] = {{1, 400, 700, 130}, {1, 20, 3000, 40}, {1, 30, 50, 2000}, {3, 20, 300, 1500},
                              {40, 20, 300, 30},  {1, 1, 900, 900},  {1, 900, 900, 1}};
  for (DType dtype : {DType::float32, DType::bfloat16})
    for (const auto& [batch, m, k, n] : sizes) {
      const Array a = compact(dtype, {batch, m, k}), b = compact(dtype, {batch, k, n});
      const Array out = compact(dtype, {batch, m, n});
      Random random(2);
      random.fill(a);
      random.fill(b);
      for_each_level([&](const Kernels& kernels) {
        const auto result = [&] {
          fill(out, [] { return 0.0; });
          kernels.matmul(a, b, out);
          return bits(out);
        };
        EXPECT_SAME_WITH_THREADS(result, 1, 2, 3, 5, 8);
      });
    }
}

TEST(errors) {
  const auto array = [](const Shape& shape, DType dtype = DType::float32) { return compact(dtype, shape); };
  EXPECT_THROW(ShapeError,
               "matmul: shapes (2, 3) and (4, 5) do not match: expected a.shape[-1] == b.shape[-2], met 3 and 4",
               check::matmul(array({2, 3}), array({4, 5}), array({2, 5})));
  EXPECT_THROW(ShapeError, "(3,)", check::matmul(array({3}), array({3, 5}), array({1, 5})));
  EXPECT_THROW(ShapeError, "(3,)", check::matmul(array({2, 3}), array({3}), array({2, 1})));
  EXPECT_THROW(ShapeError, "leading", check::matmul(array({2, 2, 3}), array({4, 3, 5}), array({2, 2, 5})));
  EXPECT_THROW(ShapeError, "leading", check::matmul(array({2, 2, 3}), array({3, 5}), array({2, 2, 5})));
  EXPECT_THROW(ShapeError, "out has shape (2, 4)", check::matmul(array({2, 3}), array({3, 5}), array({2, 4})));
  EXPECT_THROW(ShapeError, "out has shape (1, 2, 5)", check::matmul(array({2, 3}), array({3, 5}), array({1, 2, 5})));
  EXPECT_THROW(DTypeError, "float64", check::matmul(array({2, 3}), array({3, 5}, DType::float64), array({2, 5})));
  EXPECT_THROW(DTypeError, "int32", check::matmul(array({2, 3}), array({3, 5}), array({2, 5}, DType::int32)));
}
