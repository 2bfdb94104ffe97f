#include "kernels/testing/check.h"

#include <exception>
#include <numeric>

#include "kernels/common/dispatch.h"

namespace needle::testing {
namespace {

struct Named {
  const char* name;
  void (*run)();
};

std::vector<Named>& tests() {
  static std::vector<Named> all;
  return all;
}

int failures = 0;
std::string context;  // describes what is being tested; shown with each failure

// Calls visit(position in the buffer) for every element in row-major order.
void for_each_element(const Array& a, const std::function<void(int64_t)>& visit) {
  std::vector<int64_t> index(a.ndim, 0);
  const int64_t size = a.size();
  for (int64_t i = 0; i < size; ++i) {
    int64_t position = 0;
    for (int d = 0; d < a.ndim; ++d) position += index[d] * a.strides[d];
    visit(position);
    for (int d = a.ndim - 1; d >= 0 && ++index[d] == a.shape[d]; --d) index[d] = 0;
  }
}

}  // namespace

Test::Test(const char* name, void (*run)()) { tests().push_back({name, run}); }

void fail(const char* file, int line, const std::string& text) {
  if (++failures <= 20) std::cerr << file << ":" << line << ": " << context << text << std::endl;
}

std::vector<double> values(const Array& a) {
  std::vector<double> result;
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_element(a, [&](int64_t position) { result.push_back(static_cast<double>(a.data<T>()[position])); });
  });
  return result;
}

void fill(const Array& a, const std::function<double()>& next) {
  dispatch(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_element(
        a, [&](int64_t position) { a.data<T>()[position] = static_cast<T>(static_cast<Compute<T>>(next())); });
  });
}

void expect_near(const char* file, int line, const std::string& what, const std::vector<double>& met,
                 const std::vector<double>& expected, double relative, double absolute) {
  if (met.size() != expected.size()) return expect_equal(file, line, what.c_str(), met.size(), expected.size());
  for (size_t i = 0; i < met.size(); ++i) {
    if (is_near(met[i], expected[i], absolute + relative * std::fabs(expected[i]))) continue;
    std::ostringstream text;
    text.precision(17);
    text << what << ": element " << i << " of " << met.size() << " is " << met[i] << ", expected " << expected[i];
    return fail(file, line, text.str());
  }
}

double epsilon(DType dtype) {
  switch (dtype) {
    case DType::float32: return 0x1p-23;
    case DType::float64: return 0x1p-52;
    case DType::float16: return 0x1p-10;
    case DType::bfloat16: return 0x1p-7;
    default: return 0;
  }
}

Array compact(DType dtype, const Shape& shape) { return strided(dtype, shape, Layout::compact); }

Array strided(DType dtype, const Shape& shape, Layout layout) {
  const int ndim = static_cast<int>(shape.size());
  std::vector<int> order(ndim);  // of the axes in memory
  std::iota(order.begin(), order.end(), 0);
  if (layout == Layout::permuted) std::reverse(order.begin(), order.end());
  const int64_t step = layout == Layout::sliced ? 2 : 1;
  Dims extents{}, strides{};
  int64_t span = 1;
  for (int i = ndim - 1; i >= 0; --i) {
    const int axis = order[i];
    extents[axis] = shape[axis];
    if (layout == Layout::broadcast && axis % 2 == 0) continue;  // stride 0
    strides[axis] = span * step;
    span *= std::max<int64_t>(shape[axis], 1) * step;
  }
  int64_t offset = 3;
  if (layout == Layout::flipped)
    for (int d = 0; d < ndim; ++d) {
      offset += std::max<int64_t>(shape[d] - 1, 0) * strides[d];
      strides[d] = -strides[d];
    }
  auto buffer = std::make_shared<Buffer>((span + 3) * itemsize(dtype));
  std::fill_n(buffer->data(), buffer->nbytes(), std::byte{0});
  return Array(buffer, dtype, ndim, extents, strides, offset);
}

void for_each_level(const std::function<void(const Kernels&)>& body) {
  for (Level level : {Level::baseline, Level::avx2, Level::avx512}) {
    if (level > highest_level()) {
      std::cerr << "this processor has no " << name(level) << ": not tested" << std::endl;
      continue;
    }
    context = std::string(name(level)) + ": ";
    body(cpu::kernels(level));
    context.clear();
  }
}

}  // namespace needle::testing

int main() {
  using namespace needle::testing;
  for (const auto& test : tests()) {
    const int before = failures;
    try {
      test.run();
    } catch (const std::exception& error) {
      fail(test.name, 0, std::string("unexpected exception: ") + error.what());
    }
    std::cerr << test.name << ": " << (failures == before ? "passed" : "FAILED") << std::endl;
  }
  if (tests().empty()) std::cerr << "no tests" << std::endl;
  return failures > 0 || tests().empty();
}
