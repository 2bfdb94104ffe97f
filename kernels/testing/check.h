// A minimal framework for the C++ tests: named tests, expectations that print actual values, and arrays of all layouts.
//
//   TEST(sums_rows) { EXPECT_EQ(sum, 6.0); }
//
// The program runs every TEST of its files, prints the failures, and exits with 1 if there are any.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/common/array.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/kernels.h"

namespace needle::testing {

struct Test {
  Test(const char* name, void (*run)());
};

// Counts a failure and prints it.
void fail(const char* file, int line, const std::string& text);

template <class A, class B>
void expect_equal(const char* file, int line, const char* what, const A& met, const B& expected) {
  if (met == expected) return;
  std::ostringstream text;
  text << what << " is " << met << ", expected " << expected;
  fail(file, line, text.str());
}

// |met - expected| <= tolerance; NaN and infinities must match.
inline bool is_near(double met, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(met);
  if (std::isinf(expected)) return met == expected;
  return std::fabs(met - expected) <= tolerance;
}

#define TEST(name)                                                           \
  static void test_##name();                                                 \
  static const needle::testing::Test test_object_##name(#name, test_##name); \
  static void test_##name()

#define EXPECT(condition)                                                    \
  do {                                                                       \
    if (!(condition)) needle::testing::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define EXPECT_EQ(met, expected) needle::testing::expect_equal(__FILE__, __LINE__, #met, (met), (expected))

// Expects the statement to throw `type` with a message that contains `part`.
#define EXPECT_THROW(type, part, statement)                                                                 \
  do {                                                                                                      \
    std::string met_ = "nothing";                                                                           \
    try {                                                                                                   \
      statement;                                                                                            \
    } catch (const type& error) {                                                                           \
      met_ = error.what();                                                                                  \
      if (met_.find(part) != std::string::npos) met_.clear();                                               \
    }                                                                                                       \
    if (!met_.empty())                                                                                      \
      needle::testing::fail(__FILE__, __LINE__,                                                             \
                            std::string(#statement " throws ") + met_ + ", expected " #type ": " + (part)); \
  } while (false)

// The elements in row-major order, converted to double for expectations.
std::vector<double> values(const Array& a);
void fill(const Array& a, const std::function<double()>& next);

// Prints the first element that differs by more than `absolute` + `relative` |expected|.
void expect_near(const char* file, int line, const std::string& what, const std::vector<double>& met,
                 const std::vector<double>& expected, double relative, double absolute = 0);
#define EXPECT_NEAR(what, met, expected, ...) \
  needle::testing::expect_near(__FILE__, __LINE__, what, met, expected, __VA_ARGS__)

// The machine epsilon of the dtype: the distance from 1 to the next larger number.
double epsilon(DType dtype);

using Shape = std::vector<int64_t>;

Array compact(DType dtype, const Shape& shape);

// The memory layout of an array. `broadcast` repeats elements, so it is only for read operands.
enum class Layout { compact, permuted, sliced, flipped, broadcast };
inline constexpr Layout kWritableLayouts[] = {Layout::compact, Layout::permuted, Layout::sliced, Layout::flipped};
inline constexpr Layout kLayouts[] = {Layout::compact, Layout::permuted, Layout::sliced, Layout::flipped,
                                      Layout::broadcast};
Array strided(DType dtype, const Shape& shape, Layout layout);

inline constexpr DType kAllDTypes[] = {DType::float32, DType::float64, DType::float16, DType::bfloat16, DType::int8,
                                       DType::uint8,   DType::int32,   DType::int64,   DType::boolean};
inline constexpr DType kFloatingDTypes[] = {DType::float32, DType::float64, DType::float16, DType::bfloat16};
inline constexpr DType kIntegerDTypes[] = {DType::int8, DType::uint8, DType::int32, DType::int64};

// Reproducible random numbers.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }
  double normal() { return std::normal_distribution<double>()(engine_); }
  // A number that the dtype can represent; small for integers, so that most sums do not wrap around.
  double number(DType dtype) {
    if (dtype == DType::boolean) return static_cast<double>(integer(0, 1));
    if (is_floating_dtype(dtype)) return normal();
    return static_cast<double>(integer(dtype == DType::uint8 ? 0 : -10, 10));
  }
  void fill(const Array& a) {
    testing::fill(a, [&] { return number(a.dtype); });
  }

 private:
  std::mt19937_64 engine_;
};

// Expects result() to be equal for all of these thread counts.
template <class Result>
void expect_same_with_threads(const char* file, int line, std::initializer_list<int> counts, const Result& result) {
  const int before = num_threads();
  set_num_threads(*counts.begin());
  const auto first = result();
  for (int count : counts) {
    set_num_threads(count);
    if (!(result() == first)) fail(file, line, "another result with " + std::to_string(count) + " threads");
  }
  set_num_threads(before);
}
#define EXPECT_SAME_WITH_THREADS(result, ...) \
  needle::testing::expect_same_with_threads(__FILE__, __LINE__, {__VA_ARGS__}, result)

// Runs `body` with the kernels of every level that this processor supports.
void for_each_level(const std::function<void(const Kernels&)>& body);

}  // namespace needle::testing
