// Windows of images in bytes, as numbers.
#include <algorithm>
#include <limits>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

using testing::compact;
using testing::Layout;
using testing::Random;
using testing::strided;
using testing::values;
using Values = std::vector<double>;

// The definition, pixel by pixel.
Values expected(const Array& images, const Array& windows, const Array& numbers) {
  const int64_t height = images.shape[1], width = images.shape[2], channels = images.shape[3];
  const Values bytes = values(images), window = values(windows), number = values(numbers);
  Values result;
  for (int64_t n = 0; n < windows.shape[0]; ++n)
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j)
        for (int64_t c = 0; c < channels; ++c) {
          const double* const w = &window[n * 4];
          const double row = i + w[1], column = (w[3] ? width - 1 - j : j) + w[2];
          const bool inside = 0 <= row && row < height && 0 <= column && column < width;
          const double byte = inside ? bytes[((w[0] * height + row) * width + column) * channels + c] : 0;
          result.push_back(number[c * 256 + byte]);
        }
  return result;
}

TEST(crop_images) {
  testing::for_each_level([](const Kernels& kernels) {
    Random random(1);
    for (DType dtype : testing::kAllDTypes)
      for (const testing::Shape& shape :
           {testing::Shape{5, 6, 7, 3}, {3, 1, 40, 1}, {0, 4, 4, 2}, {2, 3, 0, 2}})  // of out
        for (Layout layout : testing::kLayouts) {
          const Array images = strided(DType::uint8, {4, shape[1], shape[2], shape[3]}, layout),
                      windows = strided(DType::int32, {shape[0], 4}, layout),
                      numbers = strided(dtype, {shape[3], 256}, layout),
                      out = strided(dtype, shape, testing::kWritableLayouts[random.integer(0, 3)]);
          testing::fill(images, [&] { return static_cast<double>(random.integer(0, 255)); });
          int column = 0;
          testing::fill(windows, [&] { return static_cast<double>(random.integer(column++ % 4 ? -4 : 0, 3)); });
          random.fill(numbers);
          kernels.crop_images(images, windows, numbers, out);
          EXPECT_NEAR("out", values(out), expected(images, windows, numbers), 0);
        }
  });
}

TEST(windows_far_outside_are_the_value_of_zero) {
  const Array images = compact(DType::uint8, {4, 2, 3, 1}), windows = compact(DType::int32, {4, 4}),
              numbers = compact(DType::float32, {1, 256}), out = compact(DType::float32, {4, 2, 3, 1});
  testing::fill(images, [] { return 9.0; });
  testing::fill(numbers, [] { return 1.0; });
  numbers.data<float>()[0] = 5;
  const int32_t least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max();
  const int32_t far[] = {0, least, 0, 0, 1, most, 0, 1, 2, 0, least, 1, 3, 0, most, 0};
  std::copy(std::begin(far), std::end(far), windows.data<int32_t>());
  testing::for_each_level([&](const Kernels& kernels) {
    kernels.crop_images(images, windows, numbers, out);
    EXPECT_NEAR("out", values(out), Values(24, 5.0), 0);
  });
}

TEST(threads_do_not_change_results) {
  Random random(2);
  const Array images = compact(DType::uint8, {64, 32, 32, 3}), windows = compact(DType::int32, {64, 4}),
              numbers = compact(DType::float32, {3, 256}), out = compact(DType::float32, {64, 32, 32, 3});
  testing::fill(images, [&] { return static_cast<double>(random.integer(0, 255)); });
  testing::fill(windows, [&] { return static_cast<double>(random.integer(0, 2)); });
  random.fill(numbers);
  const auto result = [&] {
    testing::fill(out, [] { return 0.0; });
    cpu::kernels(highest_level()).crop_images(images, windows, numbers, out);
    return values(out);
  };
  EXPECT_SAME_WITH_THREADS(result, 1, 2, 5);
}

TEST(mistakes_are_named) {
  const Kernels& kernels = cpu::kernels(highest_level());
  const Array images = compact(DType::uint8, {2, 4, 4, 3}), windows = compact(DType::int32, {2, 4}),
              numbers = compact(DType::float32, {3, 256}), out = compact(DType::float32, {2, 4, 4, 3});
  testing::fill(windows, [] { return 0.0; });
  EXPECT_THROW(DTypeError, "crop_images: images is float32", check::crop_images(out, windows, numbers, out));
  EXPECT_THROW(DTypeError, "crop_images: windows is int64",
               check::crop_images(images, compact(DType::int64, {2, 4}), numbers, out));
  EXPECT_THROW(DTypeError, "crop_images: values is float64",
               check::crop_images(images, windows, compact(DType::float64, {3, 256}), out));
  EXPECT_THROW(ShapeError, "crop_images: out has shape (2, 4, 5, 3), expected (2, 4, 4, 3)",
               check::crop_images(images, windows, numbers, compact(DType::float32, {2, 4, 5, 3})));
  EXPECT_THROW(ShapeError, "crop_images: windows have shape (2, 3), expected (N, 4)",
               check::crop_images(images, compact(DType::int32, {2, 3}), numbers, out));
  EXPECT_THROW(ShapeError, "crop_images: values have shape (1, 256), expected (3, 256)",
               check::crop_images(images, windows, compact(DType::float32, {1, 256}), out));
  for (const int32_t image : {-1, 2}) {
    windows.data<int32_t>()[4] = image;
    EXPECT_THROW(ShapeError, message("crop_images: image ", image, " at position 1, expected 0 to 1"),
                 kernels.crop_images(images, windows, numbers, out));
  }
}

TEST(a_window_as_far_outside_as_there_are_numbers) {
  const Array images = compact(DType::uint8, {1, 2, 2, 1}), windows = compact(DType::int32, {2, 4});
  const Array values_ = compact(DType::float32, {1, 256}), out = compact(DType::float32, {2, 2, 2, 1});
  const int32_t rows[] = {0, INT32_MIN, INT32_MIN, 0, 0, INT32_MAX, INT32_MAX, 1};
  std::copy(rows, rows + 8, windows.data<int32_t>());
  testing::fill(images, [] { return 9.0; });
  testing::fill(values_, [number = 5.0]() mutable { return number++; });
  testing::for_each_level([&](const Kernels& kernels) {
    kernels.crop_images(images, windows, values_, out);
    for (double value : values(out)) EXPECT_EQ(value, 5.0);
  });
}

}  // namespace
}  // namespace needle
