// Pooling and its gradients against their definitions, at every instruction level.
#include <limits>

#include "kernels/common/checks.h"
#include "kernels/common/error.h"
#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

struct Pooling {
  int64_t images, height, width, channels, kernel, stride, padding;

  int64_t out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
  Shape x() const { return {images, height, width, channels}; }
  Shape out() const { return {images, out_height(), out_width(), channels}; }
  std::string text() const {
    std::ostringstream text;
    text << images << " x " << height << " x " << width << " x " << channels << ", kernel " << kernel << ", stride "
         << stride << ", padding " << padding;
    return text.str();
  }

  // Calls visit(out position, x positions of the window's pixels in order) for each number of the result.
  template <class Visit>
  void for_each_window(const Visit& visit) const {
    for (int64_t n = 0, at = 0; n < images; ++n)
      for (int64_t i = 0; i < out_height(); ++i)
        for (int64_t j = 0; j < out_width(); ++j)
          for (int64_t c = 0; c < channels; ++c, ++at) {
            std::vector<int64_t> window;
            for (int64_t y = i * stride - padding; y < i * stride - padding + kernel; ++y)
              for (int64_t x = j * stride - padding; x < j * stride - padding + kernel; ++x)
                if (y >= 0 && y < height && x >= 0 && x < width)
                  window.push_back(((n * height + y) * width + x) * channels + c);
            visit(at, window);
          }
  }
};

// The position of the first largest number, where NaN counts as the largest.
int64_t first_largest(const std::vector<double>& x, const std::vector<int64_t>& window) {
  int64_t best = window[0];
  for (int64_t at : window)
    if (x[at] > x[best] || (std::isnan(x[at]) && !std::isnan(x[best]))) best = at;
  return best;
}

void expect_pooling(const Pooling& shape, DType dtype = DType::float32, Layout x_layout = Layout::compact,
                    Layout out_layout = Layout::compact, const std::vector<double>& specials = {}) {
  const auto writable = [](Layout layout) { return layout == Layout::broadcast ? Layout::compact : layout; };
  Random random(shape.height * 31 + shape.channels);
  const Array x = strided(dtype, shape.x(), x_layout), grad_out = strided(dtype, shape.out(), out_layout);
  fill(x, [&] {  // small integers, so that windows have equal numbers
    const int64_t special = specials.empty() ? 1 : random.integer(0, 3);
    return special ? static_cast<double>(random.integer(-3, 3)) : specials[random.integer(0, specials.size() - 1)];
  });
  random.fill(grad_out);

  const std::vector<double> a = values(x), g = values(grad_out);
  const double area = static_cast<double>(shape.kernel * shape.kernel);
  std::vector<double> max(g.size()), avg(g.size()), max_grad(a.size()), avg_grad(a.size());
  shape.for_each_window([&](int64_t at, const std::vector<int64_t>& window) {
    const int64_t best = first_largest(a, window);
    max[at] = a[best];
    max_grad[best] += g[at];
    for (int64_t pixel : window) {
      avg[at] += a[pixel] / area;
      avg_grad[pixel] += g[at] / area;
    }
  });

  const Array out = strided(dtype, shape.out(), writable(out_layout));
  const Array grad_x = strided(dtype, shape.x(), writable(x_layout));
  const double relative = is_half_dtype(dtype) ? epsilon(dtype) / 2 : 0;
  const double absolute = 64 * epsilon(dtype == DType::float64 ? DType::float64 : DType::float32);
  for_each_level([&](const Kernels& kernels) {
    const std::string what = shape.text() + " " + name(dtype);
    const auto expect = [&](const char* kernel, const Array& result, const std::vector<double>& expected) {
      EXPECT_NEAR(kernel + (" " + what), values(result), expected, relative, absolute);
      fill(result, [] { return 1.0; });  // the next kernel must overwrite it
    };
    kernels.max_pool2d(x, out, shape.kernel, shape.stride, shape.padding);
    expect("max", out, max);
    kernels.avg_pool2d(x, out, shape.kernel, shape.stride, shape.padding);
    expect("avg", out, avg);
    kernels.max_pool2d_backward(x, grad_out, grad_x, shape.kernel, shape.stride, shape.padding);
    expect("max backward", grad_x, max_grad);
    kernels.avg_pool2d_backward(grad_out, grad_x, shape.kernel, shape.stride, shape.padding);
    expect("avg backward", grad_x, avg_grad);
  });
}

std::string bits(const Array& a) {
  return std::string(reinterpret_cast<const char*>(a.buffer->data()), a.buffer->nbytes());
}

}  // namespace

TEST(kernels_strides_and_paddings) {
  for (int64_t kernel : {1, 2, 3, 5})
    for (int64_t stride : {1, 2, 3, 4})
      for (int64_t padding = 0; padding <= kernel / 2; ++padding)
        for (int64_t extent : {1, 4, 7})
          if (extent + 2 * padding >= kernel) expect_pooling({2, extent, extent + 1, 5, kernel, stride, padding});
}

TEST(every_dtype_and_layout) {
  for (DType dtype : kFloatingDTypes)
    for (Layout x_layout : kLayouts)
      for (Layout out_layout : kLayouts) expect_pooling({2, 6, 5, 9, 3, 2, 1}, dtype, x_layout, out_layout);
}

TEST(many_channels) {
  for (DType dtype : kFloatingDTypes)
    for (int64_t channels : {16, 255, 256, 257, 600}) expect_pooling({1, 4, 4, channels, 3, 1, 1}, dtype);
}

// Max hands on NaN, whose gradient goes to the first one; -infinity is a number like others; avg adds as IEEE says.
TEST(nan_and_infinity) {
  for (DType dtype : kFloatingDTypes) {
    expect_pooling({2, 6, 6, 20, 3, 1, 1}, dtype, Layout::compact, Layout::compact, {kNaN});
    expect_pooling({2, 6, 6, 20, 2, 2, 0}, dtype, Layout::compact, Layout::compact, {-kInfinity});
    expect_pooling({2, 6, 6, 20, 3, 2, 1}, dtype, Layout::compact, Layout::compact, {kInfinity, -kInfinity, kNaN});
  }
}

TEST(equal_numbers_give_the_gradient_to_the_first) {
  const Array x = compact(DType::float32, {1, 2, 2, 3}), grad_out = compact(DType::float32, {1, 1, 1, 3});
  const Array grad_x = compact(DType::float32, {1, 2, 2, 3});
  fill(grad_out, [] { return 5.0; });
  for (double same : {0.0, -kInfinity, kNaN}) {
    fill(x, [&] { return same; });
    for_each_level([&](const Kernels& kernels) {
      kernels.max_pool2d_backward(x, grad_out, grad_x, 2, 2, 0);
      EXPECT_NEAR("grad_x", values(grad_x), {5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0);
    });
  }
}

TEST(no_images_or_channels) {
  expect_pooling({0, 5, 5, 3, 2, 2, 0});
  expect_pooling({2, 5, 5, 0, 2, 2, 0});
}

TEST(result_does_not_depend_on_the_number_of_threads) {
  const Array x = compact(DType::float32, {5, 33, 30, 20}), grad_out = compact(DType::float32, {5, 17, 15, 20});
  const Array grad_x = compact(DType::float32, {5, 33, 30, 20});
  Random random(3);
  random.fill(x);
  random.fill(grad_out);
  for_each_level([&](const Kernels& kernels) {
    const auto gradients = [&] {
      kernels.max_pool2d_backward(x, grad_out, grad_x, 3, 2, 1);
      const std::string max = bits(grad_x);
      kernels.avg_pool2d_backward(grad_out, grad_x, 3, 2, 1);
      return max + bits(grad_x);
    };
    EXPECT_SAME_WITH_THREADS(gradients, 1, 2, 3, 7);
  });
}

TEST(errors) {
  const auto array = [](const Shape& shape, DType dtype = DType::float32) { return compact(dtype, shape); };
  const Array x = array({2, 6, 6, 3}), out = array({2, 3, 3, 3});
  check::max_pool2d(x, out, 2, 2, 0);
  EXPECT_THROW(ShapeError, "max_pool2d: out has shape (2, 3, 3, 3), expected (2, 5, 5, 3)",
               check::max_pool2d(x, out, 2, 1, 0));
  EXPECT_THROW(ShapeError, "padding 2, expected 0 to 1", check::max_pool2d(x, out, 3, 2, 2));
  EXPECT_THROW(ShapeError, "padding -1", check::avg_pool2d(x, out, 3, 2, -1));
  EXPECT_THROW(ShapeError, "kernel 0", check::avg_pool2d(x, out, 0, 2, 0));
  EXPECT_THROW(ShapeError, "stride 0", check::avg_pool2d(x, out, 2, 0, 0));
  EXPECT_THROW(ShapeError, "kernel 9223372036854775807", check::avg_pool2d(x, out, INT64_MAX, 2, INT64_MAX / 2));
  EXPECT_THROW(ShapeError, "one window of 7 x 7", check::max_pool2d(x, out, 7, 2, 0));
  EXPECT_THROW(ShapeError, "one window of 2 x 2", check::max_pool2d(array({1, 0, 4, 3}), array({1, 1, 4, 3}), 2, 1, 1));
  EXPECT_THROW(ShapeError, "out has shape (2, 3, 3)", check::max_pool2d(x, array({2, 3, 3}), 2, 2, 0));
  EXPECT_THROW(ShapeError, "grad_out has shape (2, 2, 3, 3)",
               check::max_pool2d_backward(x, array({2, 2, 3, 3}), x, 2, 2, 0));
  EXPECT_THROW(ShapeError, "grad_x has shape (2, 6, 5, 3)",
               check::max_pool2d_backward(x, out, array({2, 6, 5, 3}), 2, 2, 0));
  EXPECT_THROW(ShapeError, "grad_out has shape", check::avg_pool2d_backward(array({2, 2, 3, 3}), x, 2, 2, 0));
  EXPECT_THROW(DTypeError, "expected a floating dtype",
               check::max_pool2d(array({2, 6, 6, 3}, DType::int32), array({2, 3, 3, 3}, DType::int32), 2, 2, 0));
  EXPECT_THROW(DTypeError, "float64", check::max_pool2d(x, array({2, 3, 3, 3}, DType::float64), 2, 2, 0));
}
