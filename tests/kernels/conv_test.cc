// Convolution and its gradients against the sums that define them, at every instruction level.
#include <limits>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;

namespace {

struct Convolution {
  int64_t images, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding;

  int64_t out_height() const { return (height + 2 * padding - kernel_height) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - kernel_width) / stride + 1; }
  Shape x() const { return {images, height, width, in_channels}; }
  Shape weight() const { return {kernel_height, kernel_width, in_channels, out_channels}; }
  Shape out() const { return {images, out_height(), out_width(), out_channels}; }
  std::string text() const {
    std::ostringstream text;
    text << images << " x " << height << " x " << width << " x " << in_channels << " -> " << out_channels << ", kernel "
         << kernel_height << " x " << kernel_width << ", stride " << stride << ", padding " << padding;
    return text.str();
  }

  // Calls visit(x position, weight position, out position) for each product of the definition, in row-major positions.
  template <class Visit>
  void for_each_product(const Visit& visit) const {
    for (int64_t n = 0; n < images; ++n)
      for (int64_t i = 0; i < out_height(); ++i)
        for (int64_t j = 0; j < out_width(); ++j)
          for (int64_t h = 0; h < kernel_height; ++h)
            for (int64_t w = 0; w < kernel_width; ++w) {
              const int64_t y = i * stride + h - padding, x = j * stride + w - padding;
              if (y < 0 || y >= height || x < 0 || x >= width) continue;
              for (int64_t c = 0; c < in_channels; ++c)
                for (int64_t f = 0; f < out_channels; ++f)
                  visit(((n * height + y) * width + x) * in_channels + c,
                        ((h * kernel_width + w) * in_channels + c) * out_channels + f,
                        ((n * out_height() + i) * out_width() + j) * out_channels + f);
            }
  }
};

enum class Direction { forward, backward_data, backward_weight };

void run(const Kernels& kernels, Direction direction, const Array& x, const Array& weight, const Array& out,
         const Convolution& shape) {
  switch (direction) {
    case Direction::forward: return kernels.conv2d(x, weight, out, shape.stride, shape.padding);
    case Direction::backward_data: return kernels.conv2d_backward_data(out, weight, x, shape.stride, shape.padding);
    case Direction::backward_weight: return kernels.conv2d_backward_weight(x, out, weight, shape.stride, shape.padding);
  }
}

// Each of the three directions computes one of x, weight and out from the other two.
void expect_convolution(const Convolution& shape, DType dtype = DType::float32, Layout x_layout = Layout::compact,
                        Layout weight_layout = Layout::compact, Layout out_layout = Layout::compact) {
  const auto writable = [](Layout layout) { return layout == Layout::broadcast ? Layout::compact : layout; };
  for (Direction direction : {Direction::forward, Direction::backward_data, Direction::backward_weight}) {
    const bool to_out = direction == Direction::forward, to_x = direction == Direction::backward_data;
    const bool to_weight = direction == Direction::backward_weight;
    const Array x = strided(dtype, shape.x(), to_x ? writable(x_layout) : x_layout);
    const Array weight = strided(dtype, shape.weight(), to_weight ? writable(weight_layout) : weight_layout);
    const Array out = strided(dtype, shape.out(), to_out ? writable(out_layout) : out_layout);
    const Array& result = to_out ? out : to_x ? x : weight;
    Random random(shape.height * 31 + shape.in_channels);
    for (const Array* operand : {&x, &weight, &out})
      if (operand != &result) random.fill(*operand);

    const std::vector<double> a = values(x), b = values(weight), c = values(out);
    std::vector<double> expected(result.size(), 0.0), magnitude(result.size(), 0.0);
    shape.for_each_product([&](int64_t p, int64_t q, int64_t r) {
      const int64_t at = to_out ? r : to_x ? p : q;
      const double product = to_out ? a[p] * b[q] : to_x ? c[r] * b[q] : a[p] * c[r];
      expected[at] += product;
      magnitude[at] += std::fabs(product);
    });
    double largest = 0;
    for (double sum : magnitude) largest = std::max(largest, sum);
    const double sum_epsilon = epsilon(dtype == DType::float64 ? DType::float64 : DType::float32);

    for_each_level([&](const Kernels& kernels) {
      fill(result, [] { return 1.0; });  // must be overwritten
      run(kernels, direction, x, weight, out, shape);
      const char* what = to_out ? "forward " : to_x ? "backward data " : "backward weight ";
      const double relative = is_half_dtype(dtype) ? epsilon(dtype) / 2 : 0;
      EXPECT_NEAR(what + shape.text() + " " + name(dtype), values(result), expected, relative,
                  4 * sum_epsilon * largest);
      if (!to_out) return;
      const Array bias = strided(dtype, {shape.out_channels}, x_layout);
      random.fill(bias);
      std::vector<double> with_bias = expected;
      const std::vector<double> biases = values(bias);
      for (size_t i = 0; i < with_bias.size(); ++i) with_bias[i] += biases[i % shape.out_channels];
      kernels.conv2d_bias(x, weight, bias, out, shape.stride, shape.padding);
      EXPECT_NEAR("with bias " + shape.text() + " " + name(dtype), values(out), with_bias, relative,
                  4 * sum_epsilon * (largest + 5));
    });
  }
}

std::string bits(const Array& a) {
  return std::string(reinterpret_cast<const char*>(a.buffer->data()), a.buffer->nbytes());
}

}  // namespace

TEST(kernels_strides_and_paddings) {
  for (int64_t kernel : {1, 2, 3, 5})
    for (int64_t stride : {1, 2, 3, 4})
      for (int64_t padding : {0, 1, 2, 3})
        for (int64_t extent : {1, 4, 7})
          if (extent + 2 * padding >= kernel)
            expect_convolution({2, extent, extent + 1, 3, 5, kernel, kernel, stride, padding});
}

TEST(kernels_that_are_not_square) {
  expect_convolution({2, 6, 9, 3, 4, 1, 5, 1, 2});
  expect_convolution({2, 6, 9, 3, 4, 4, 2, 2, 1});
  expect_convolution({1, 9, 3, 2, 3, 7, 1, 3, 0});
}

TEST(every_dtype_and_layout) {
  for (DType dtype : kFloatingDTypes)
    for (Layout layout : kLayouts) {
      expect_convolution({2, 6, 5, 7, 9, 3, 3, 1, 1}, dtype, layout, layout, layout);
      expect_convolution({2, 6, 5, 7, 9, 3, 3, 2, 1}, dtype, layout);
      expect_convolution({2, 6, 5, 7, 9, 3, 3, 2, 1}, dtype, Layout::compact, layout);
      expect_convolution({2, 6, 5, 7, 9, 3, 3, 2, 1}, dtype, Layout::compact, Layout::compact, layout);
    }
}

// More than one block of rows (192 pixels), of depth (256 numbers of a window) and of columns.
TEST(more_than_one_block) {
  for (DType dtype : kFloatingDTypes) {
    expect_convolution({3, 9, 8, 40, 34, 3, 3, 1, 1}, dtype);
    expect_convolution({3, 8, 9, 130, 12, 2, 2, 2, 1}, dtype);
  }
  expect_convolution({1, 2, 2, 3, 1030, 1, 1, 1, 0});
}

// The weights' gradient sums over pixels in slices of 2048.
TEST(more_than_one_slice_of_pixels) {
  for (DType dtype : kFloatingDTypes) {
    expect_convolution({5, 32, 32, 2, 3, 3, 3, 1, 1}, dtype);
    expect_convolution({2, 32, 32, 2, 3, 1, 1, 1, 0}, dtype);
    expect_convolution({6, 31, 33, 3, 17, 2, 2, 1, 0}, dtype);
  }
}

TEST(layers_of_resnet9) {
  expect_convolution({4, 32, 32, 3, 16, 7, 7, 4, 3});
  expect_convolution({4, 8, 8, 16, 32, 3, 3, 2, 1});
  expect_convolution({4, 4, 4, 32, 32, 3, 3, 1, 1});
  expect_convolution({4, 4, 4, 32, 64, 3, 3, 2, 1});
  expect_convolution({4, 2, 2, 64, 128, 3, 3, 2, 1});
  expect_convolution({4, 1, 1, 128, 128, 3, 3, 1, 1});
}

// Kernel rows and columns that meet only padding, windows that lie in it entirely, pixels that no window sees.
TEST(mostly_padding) {
  expect_convolution({2, 1, 1, 3, 4, 3, 3, 1, 1});
  expect_convolution({2, 1, 2, 3, 4, 5, 5, 1, 2});
  expect_convolution({2, 1, 1, 3, 4, 2, 2, 3, 5});
  expect_convolution({2, 2, 2, 3, 4, 1, 1, 1, 4});
  expect_convolution({2, 7, 7, 3, 4, 1, 1, 3, 0});
  expect_convolution({2, 7, 7, 3, 4, 2, 2, 5, 0});
}

TEST(nothing_there) {
  for (DType dtype : kFloatingDTypes) {
    expect_convolution({0, 5, 5, 3, 4, 3, 3, 1, 1}, dtype);
    expect_convolution({2, 5, 5, 0, 4, 3, 3, 1, 1}, dtype);
    expect_convolution({2, 5, 5, 3, 0, 3, 3, 1, 1}, dtype);
    expect_convolution({2, 0, 5, 3, 4, 3, 3, 1, 2}, dtype);
  }
}

// Padding is zeros of x, and zero times infinity is NaN; but a weight that meets nothing but padding is left out.
TEST(infinite_weight_and_padding) {
  const Array x = compact(DType::float32, {1, 3, 3, 1}), weight = compact(DType::float32, {3, 3, 1, 1});
  const Array out = compact(DType::float32, {1, 3, 3, 1});
  const Array pixel = compact(DType::float32, {1, 1, 1, 1}), out_pixel = compact(DType::float32, {1, 1, 1, 1});
  fill(x, [] { return 1.0; });
  fill(pixel, [] { return 1.0; });
  int64_t tap = 0;
  fill(weight, [&] { return tap++ == 0 ? std::numeric_limits<double>::infinity() : 1.0; });  // the upper left weight
  for_each_level([&](const Kernels& kernels) {
    kernels.conv2d(x, weight, out, 1, 1);
    const std::vector<double> met = values(out);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j) EXPECT(i > 0 && j > 0 ? std::isinf(met[i * 3 + j]) : std::isnan(met[i * 3 + j]));
    kernels.conv2d(pixel, weight, out_pixel, 1, 1);
    EXPECT_EQ(values(out_pixel)[0], 1.0);
  });
}

TEST(result_does_not_depend_on_the_number_of_threads) {
  const Convolution shapes[] = {{9, 32, 32, 8, 16, 3, 3, 1, 1}, {7, 16, 16, 40, 50, 3, 3, 2, 1}};
  for (const Convolution& shape : shapes) {
    for (DType dtype : {DType::float32, DType::bfloat16}) {
      for (Direction direction : {Direction::forward, Direction::backward_data, Direction::backward_weight}) {
        const Array x = compact(dtype, shape.x()), weight = compact(dtype, shape.weight());
        const Array out = compact(dtype, shape.out());
        Random random(5);
        for (const Array* array : {&x, &weight, &out}) random.fill(*array);
        const Array& result = direction == Direction::forward         ? out
                              : direction == Direction::backward_data ? x
                                                                      : weight;
        for_each_level([&](const Kernels& kernels) {
          const auto run_anew = [&] {
            fill(result, [] { return 0.0; });
            run(kernels, direction, x, weight, out, shape);
            return bits(result);
          };
          EXPECT_SAME_WITH_THREADS(run_anew, 1, 2, 3, 7);
        });
      }
    }
  }
}

TEST(errors) {
  const auto array = [](const Shape& shape, DType dtype = DType::float32) { return compact(dtype, shape); };
  const Array x = array({2, 5, 6, 3}), weight = array({3, 3, 3, 4}), out = array({2, 5, 6, 4});
  check::conv2d(x, weight, out, 1, 1);
  EXPECT_THROW(ShapeError, "conv2d: out has shape (2, 5, 6, 4), expected (2, 3, 4, 4)",
               check::conv2d(x, weight, out, 1, 0));
  EXPECT_THROW(ShapeError, "expected x.shape[3] == weight.shape[2], met 2 and 3",
               check::conv2d(array({2, 5, 6, 2}), weight, out, 1, 1));
  EXPECT_THROW(ShapeError, "weight has shape (3, 3, 3)", check::conv2d(x, array({3, 3, 3}), out, 1, 1));
  EXPECT_THROW(ShapeError, "conv2d_bias: bias has shape (3,), expected (4,)",
               check::conv2d_bias(x, weight, array({3}), out, 1, 1));
  EXPECT_THROW(DTypeError, "conv2d_bias: bias is float64 and x is float32",
               check::conv2d_bias(x, weight, array({4}, DType::float64), out, 1, 1));
  EXPECT_THROW(ShapeError, "stride 0", check::conv2d(x, weight, out, 0, 1));
  EXPECT_THROW(ShapeError, "padding -1", check::conv2d(x, weight, out, 1, -1));
  EXPECT_THROW(ShapeError, "padding 9223372036854775807", check::conv2d(x, weight, out, 1, INT64_MAX));
  EXPECT_THROW(ShapeError, "does not fit", check::conv2d(x, array({6, 3, 3, 4}), out, 1, 0));
  EXPECT_THROW(ShapeError, "does not fit", check::conv2d(x, array({0, 3, 3, 4}), out, 1, 0));
  EXPECT_THROW(DTypeError, "float64", check::conv2d(x, array({3, 3, 3, 4}, DType::float64), out, 1, 1));
  EXPECT_THROW(DTypeError, "conv2d: x is int32, expected a floating dtype",
               check::conv2d(array({2, 5, 6, 3}, DType::int32), array({3, 3, 3, 4}, DType::int32),
                             array({2, 5, 6, 4}, DType::int32), 1, 1));
  EXPECT_THROW(ShapeError, "conv2d_backward_data: grad_out has shape (2, 5, 6, 4)",
               check::conv2d_backward_data(out, weight, x, 2, 1));
  EXPECT_THROW(ShapeError, "conv2d_backward_weight: grad_out has shape (2, 5, 6, 4)",
               check::conv2d_backward_weight(x, out, weight, 2, 1));
}

TEST(steps_near_the_ends_of_64_bits) {
  const Array x = compact(DType::float32, {1, 4, 4, 2}), weight = compact(DType::float32, {3, 3, 2, 3});
  const Array one = compact(DType::float32, {1, 1, 1, 3});
  constexpr int64_t kMost = int64_t{1} << 31;
  for (int64_t stride : {INT64_MAX, INT64_MAX - 3, kMost + 1, int64_t{0}, INT64_MIN}) {
    EXPECT_THROW(ShapeError, "stride", check::conv2d(x, weight, one, stride, 0));
    EXPECT_THROW(ShapeError, "stride", check::conv2d_backward_data(one, weight, x, stride, 0));
    EXPECT_THROW(ShapeError, "stride", check::conv2d_backward_weight(x, one, weight, stride, 0));
    EXPECT_THROW(ShapeError, "stride", check::avg_pool2d(x, one, 4, stride, 0));
  }
  for (int64_t padding : {INT64_MAX, kMost + 1, int64_t{-1}})
    EXPECT_THROW(ShapeError, "padding", check::conv2d(x, weight, one, 1, padding));
}

TEST(the_largest_stride_and_a_large_padding) {
  expect_convolution({2, 5, 4, 3, 4, 3, 3, int64_t{1} << 31, 1});
  expect_convolution({1, 2, 2, 2, 2, 1, 1, int64_t{1} << 20, int64_t{1} << 20});
}

// All (1, 1, 2^28, 2^28), of one element by strides of 0. The sums of 32 slices of the pixels would take 2^64 bytes.
TEST(products_of_extents_that_do_not_fit) {
  const int64_t many = int64_t{1} << 28;
  const auto repeated = [](const Dims& shape) {
    return Array(compact(DType::float64, {1}).buffer, DType::float64, 4, shape, {}, 0);
  };
  const Array images = repeated({1, 1, many, many});
  for_each_level([&](const Kernels& kernels) {
    EXPECT_THROW(OutOfMemoryError, "out of memory", kernels.conv2d_backward_weight(images, images, images, 1, 0));
  });
}
