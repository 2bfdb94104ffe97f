// oneDNN's kernels against ours, and what lies between the two: the choice, the kept primitives, threads, errors.
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>
#include <utility>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/libraries/library.h"
#include "kernels/cpu/libraries/provider.h"
#include "kernels/cpu/libraries/recipe.h"
#include "kernels/testing/check.h"

using namespace needle;
using namespace needle::testing;
using cpu::libraries::Kernel;

namespace {

// The Bazel target says where the library is.
const bool searched = [] {
  cpu::libraries::set_library_search([] { return std::vector<std::string>{std::getenv("NEEDLE_TEST_ONEDNN")}; });
  return true;
}();

// Takes kernels from one provider while it lives.
struct From {
  explicit From(Provider provider) { cpu::libraries::set_provider(provider); }
  ~From() { cpu::libraries::set_provider(Provider::automatic); }
};

const Kernels& ours() { return cpu::kernels(highest_level()); }
const Kernels& either() { return cpu::libraries::kernels(highest_level()); }

// A call of a kernel on operands of these shapes; those from `first_result` on are written.
struct Call {
  Kernel kernel;
  std::vector<Shape> shapes;
  size_t first_result;
  std::function<void(const Kernels&, const std::vector<Array>&)> run;
};

std::vector<Call> all_calls() {
  using Operands = std::vector<Array>;
  const Shape images{3, 9, 8, 20}, filters{3, 3, 20, 33}, maps{3, 5, 4, 33}, small{3, 4, 3, 20};
  return {
      {Kernel::matmul,
       {{2, 40, 35}, {2, 35, 50}, {2, 40, 50}},
       2,
       [](const Kernels& k, const Operands& o) { k.matmul(o[0], o[1], o[2]); }},
      {Kernel::linear,
       {{40, 35}, {35, 50}, {50}, {40, 50}},
       3,
       [](const Kernels& k, const Operands& o) { k.linear(o[0], o[1], o[2], o[3], false); }},
      {Kernel::linear,
       {{40, 35}, {35, 50}, {50}, {40, 50}},
       3,
       [](const Kernels& k, const Operands& o) { k.linear(o[0], o[1], o[2], o[3], true); }},
      {Kernel::conv2d,
       {images, filters, maps},
       2,
       [](const Kernels& k, const Operands& o) { k.conv2d(o[0], o[1], o[2], 2, 1); }},
      {Kernel::conv2d_bias,
       {images, filters, {33}, maps},
       3,
       [](const Kernels& k, const Operands& o) { k.conv2d_bias(o[0], o[1], o[2], o[3], 2, 1); }},
      {Kernel::conv2d_backward_data,
       {maps, filters, images},
       2,
       [](const Kernels& k, const Operands& o) { k.conv2d_backward_data(o[0], o[1], o[2], 2, 1); }},
      {Kernel::conv2d_backward_weight,
       {images, maps, filters},
       2,
       [](const Kernels& k, const Operands& o) { k.conv2d_backward_weight(o[0], o[1], o[2], 2, 1); }},
      {Kernel::avg_pool2d,
       {images, small},
       1,
       [](const Kernels& k, const Operands& o) { k.avg_pool2d(o[0], o[1], 3, 2, 0); }},
      {Kernel::avg_pool2d_backward,
       {small, images},
       1,
       [](const Kernels& k, const Operands& o) { k.avg_pool2d_backward(o[0], o[1], 3, 2, 0); }},
      {Kernel::batch_norm,
       {images, {20}, {20}, {20}, {20}, images, {20}, {20}},
       3,
       [](const Kernels& k, const Operands& o) {
         const std::vector<Array> running = {o[3], o[4]};
         k.batch_norm(o[0], o[1], o[2], running, o[5], o[6], o[7], 0.1, 0.3, false);
       }},
      {Kernel::batch_norm_inference,
       {images, {20}, {20}, {20}, {20}, images},
       5,
       [](const Kernels& k, const Operands& o) {
         k.batch_norm_inference(o[0], o[1], o[2], o[3], o[4], o[5], 5, false);
       }},
      {Kernel::batch_norm_backward,
       {images, images, {20}, {20}, {20}, {20}, images, {20}, {20}},
       6,
       [](const Kernels& k, const Operands& o) {
         k.batch_norm_backward(o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8], 5, false);
       }},
  };
}

std::vector<Array> operands(const Call& call, DType dtype, Layout layout) {
  std::vector<Array> made;
  Random random(1);
  for (size_t i = 0; i < call.shapes.size(); ++i) {
    const bool writable = layout != Layout::broadcast || i < call.first_result;
    made.push_back(strided(dtype, call.shapes[i], writable ? layout : Layout::compact));
    if (i < call.first_result) random.fill(made.back());
  }
  return made;
}

// Every result of a call, one after another.
std::vector<double> results(const Call& call, const std::vector<Array>& arrays) {
  std::vector<double> all;
  for (size_t i = call.first_result; i < arrays.size(); ++i) {
    const std::vector<double> one = values(arrays[i]);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

std::vector<double> results_of(const Kernels& kernels, const Call& call, DType dtype = DType::float32,
                               Layout layout = Layout::compact) {
  const std::vector<Array> arrays = operands(call, dtype, layout);
  call.run(kernels, arrays);
  return results(call, arrays);
}

double largest(const std::vector<double>& numbers) {
  double most = 1;
  for (double number : numbers) most = std::max(most, std::fabs(number));
  return most;
}

}  // namespace

TEST(there_is_a_library) { EXPECT_EQ(cpu::libraries::library_status().substr(0, 9), "oneDNN 3."); }

TEST(it_agrees_with_our_kernels) {
  const From onednn(Provider::library);
  for (const Call& call : all_calls())
    for (DType dtype : kFloatingDTypes)
      for (Layout layout : kLayouts) {
        const int64_t before = cpu::libraries::num_calls(call.kernel);
        const std::vector<double> met = results_of(either(), call, dtype, layout);
        const std::vector<double> expected = results_of(ours(), call, dtype, layout);
        const double tolerance = 4 * epsilon(dtype) + 1e3 * epsilon(DType::float32);
        EXPECT_NEAR("kernel " + std::to_string(static_cast<int>(call.kernel)) + " " + name(dtype), met, expected,
                    tolerance, dtype == DType::float64 ? 0 : tolerance * largest(expected));
        if (dtype == DType::float32) EXPECT_EQ(cpu::libraries::num_calls(call.kernel), before + 1);
        if (dtype == DType::float64) EXPECT_EQ(cpu::libraries::num_calls(call.kernel), before);
      }
}

TEST(native_means_that_it_does_nothing) {
  const From native(Provider::native);
  for (const Call& call : all_calls()) {
    const int64_t before = cpu::libraries::num_calls(call.kernel);
    EXPECT(results_of(either(), call) == results_of(ours(), call));
    EXPECT_EQ(cpu::libraries::num_calls(call.kernel), before);
  }
}

TEST(automatic_leaves_what_was_not_measured_to_us) {
  for (const Call& call : all_calls())
    EXPECT(!cpu::libraries::is_chosen(Level::avx512, call.kernel, cpu::libraries::ShapeClass::any, 0));
  const From onednn(Provider::library);
  EXPECT(cpu::libraries::is_chosen(Level::avx512, Kernel::matmul, cpu::libraries::ShapeClass::any, 0));
}

TEST(the_number_of_kept_primitives_is_bounded) {
  const From onednn(Provider::library);
  for (int64_t channels = 1; channels <= cpu::libraries::kMaxRecipes + 40; ++channels) {
    const Array x = compact(DType::float32, {1, 2, 2, channels}), out = compact(DType::float32, {1, 1, 1, channels});
    fill(x, [] { return 3.0; });
    either().avg_pool2d(x, out, 2, 1, 0);
    EXPECT_EQ(values(out).back(), 3.0);
    EXPECT(cpu::libraries::num_recipes() <= cpu::libraries::kMaxRecipes);
  }
  EXPECT_EQ(cpu::libraries::num_recipes(), cpu::libraries::kMaxRecipes);
}

TEST(weights_that_change_in_place_are_seen) {
  const From onednn(Provider::library);
  const Call call = all_calls()[2];
  const std::vector<Array> arrays = operands(call, DType::float32, Layout::compact);
  call.run(either(), arrays);
  Random(99).fill(arrays[1]);
  call.run(either(), arrays);
  const std::vector<double> met = results(call, arrays);
  call.run(ours(), arrays);
  EXPECT_NEAR("convolution", met, results(call, arrays), 1e-4, 1e-4);
}

TEST(any_number_of_threads_gives_the_same_and_each_its_bits) {
  const From onednn(Provider::library);
  const int threads = num_threads();
  for (const Call& call : all_calls()) {
    const std::vector<double> expected = results_of(ours(), call);
    for (int count : {1, 2, 3, 7, 64, 2}) {
      set_num_threads(count);
      const std::vector<double> met = results_of(either(), call);
      EXPECT_NEAR("with " + std::to_string(count) + " threads", met, expected, 1e-4, 1e-4 * largest(expected));
      for (int again = 0; again < 3; ++again) EXPECT(results_of(either(), call) == met);
    }
    set_num_threads(threads);
  }
}

TEST(openmp_is_left_as_it_was) {
  const From onednn(Provider::library);
  const int before = omp_get_max_threads(), threads = num_threads();
  set_num_threads(threads + 1);
  results_of(either(), all_calls()[0]);
  EXPECT_EQ(omp_get_max_threads(), before);
  set_num_threads(threads);
}

TEST(several_threads_use_it_at_once) {
  const From onednn(Provider::library);
  const std::vector<Call> calls = all_calls();
  std::vector<std::vector<double>> expected;
  for (const Call& call : calls) expected.push_back(results_of(either(), call));
  std::vector<std::thread> workers;
  std::atomic<int> wrong{0};
  for (int worker = 0; worker < 4; ++worker)
    workers.emplace_back([&] {
      for (int round = 0; round < 5; ++round)
        for (size_t i = 0; i < calls.size(); ++i) wrong += results_of(either(), calls[i]) != expected[i];
    });
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(nan_and_infinity_are_handed_on) {
  const From onednn(Provider::library);
  const double infinity = std::numeric_limits<double>::infinity();
  const Array a = compact(DType::float32, {2, 2}), b = compact(DType::float32, {2, 2});
  const Array c = compact(DType::float32, {2, 2});
  fill(a, [] { return 0.0; });
  fill(b, [&] { return infinity; });
  either().matmul(a, b, c);
  for (double number : values(c)) EXPECT(std::isnan(number));
  fill(a, [] { return 1.0; });
  either().matmul(a, b, c);
  for (double number : values(c)) EXPECT_EQ(number, infinity);
}

TEST(nothing_is_not_its_business) {
  const From onednn(Provider::library);
  const int64_t before = cpu::libraries::num_calls(Kernel::matmul);
  const Array c = compact(DType::float32, {3, 4});
  fill(c, [] { return 7.0; });
  either().matmul(compact(DType::float32, {3, 0}), compact(DType::float32, {0, 4}), c);
  for (double number : values(c)) EXPECT_EQ(number, 0.0);
  EXPECT_EQ(cpu::libraries::num_calls(Kernel::matmul), before);
}

namespace {

// Has a function of the library fail while it lives.
template <class Function>
class Failing {
 public:
  Failing(Function cpu::libraries::Library::* function, Function failing)
      : place_(const_cast<cpu::libraries::Library*>(cpu::libraries::library())->*function), original_(place_) {
    place_ = failing;
  }
  ~Failing() { place_ = original_; }

 private:
  Function& place_;
  const Function original_;
};
template <class Function>
Failing(Function cpu::libraries::Library::*, Function) -> Failing<Function>;

void expect_ours(const std::string& what) {
  const From onednn(Provider::library);
  for (const Call& call : all_calls()) {
    const int64_t before = cpu::libraries::num_calls(call.kernel);
    if (results_of(either(), call) != results_of(ours(), call)) EXPECT_EQ("another result", what);
    EXPECT_EQ(cpu::libraries::num_calls(call.kernel), before);
  }
}

}  // namespace

TEST(what_it_refuses_is_ours) {
  const int threads = num_threads();
  int number = 20;  // of threads: one for which no primitive was made before
  for (dnnl_status_t status : {dnnl_unimplemented, dnnl_invalid_arguments, dnnl_out_of_memory}) {
    set_num_threads(number++);
    static dnnl_status_t refusal;
    refusal = status;
    {
      const Failing refuses(
          &cpu::libraries::Library::primitive_create,
          +[](dnnl_primitive_t*, const_dnnl_primitive_desc_t) { return refusal; });
      expect_ours("primitive_create");
    }
    expect_ours("primitive_create, remembered");
  }
  set_num_threads(number++);
  {
    const Failing refuses(
        &cpu::libraries::Library::memory_desc_create_with_strides,
        +[](dnnl_memory_desc_t*, int, const int64_t*, dnnl_data_type_t, const int64_t*) {
          return dnnl_invalid_arguments;
        });
    expect_ours("memory_desc_create_with_strides");
  }
  set_num_threads(number++);
  {
    const Failing refuses(
        &cpu::libraries::Library::primitive_execute,
        +[](const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t*) { return dnnl_runtime_error; });
    expect_ours("primitive_execute");
  }
  set_num_threads(threads);
}

TEST(matrices_that_repeat_or_overlap) {
  const From onednn(Provider::library);
  const auto matrices = [](const Array& a, int64_t step) {  // three of (40, 40), `step` elements apart
    return Array(a.buffer, a.dtype, 3, {3, 40, 40}, {step, 40, 1}, 0);
  };
  for (int64_t left : {0, 40, 1600})
    for (int64_t right : {0, 40, 1600}) {
      const Array a = compact(DType::float32, {3, 40, 40}), b = compact(DType::float32, {3, 40, 40});
      const Array met = compact(DType::float32, {3, 40, 40}), expected = compact(DType::float32, {3, 40, 40});
      Random(1).fill(a);
      Random(2).fill(b);
      either().matmul(matrices(a, left), matrices(b, right), met);
      ours().matmul(matrices(a, left), matrices(b, right), expected);
      EXPECT_NEAR("batch strides " + std::to_string(left) + ", " + std::to_string(right), values(met), values(expected),
                  1e-4, 1e-4);
    }
}

// Taps that meet nothing but padding, and pixels in no window, have gradients of zero all the same.
TEST(taps_and_pixels_that_meet_nothing) {
  const From onednn(Provider::library);
  struct Case {
    int64_t extent, kernel, stride, padding;
  };
  for (const Case& c : {Case{2, 7, 1, 3},
                        {1, 3, 1, 1},
                        {1, 5, 3, 2},
                        {2, 3, 4, 2},
                        {7, 2, 3, 0},
                        {8, 3, 2, 0},
                        {5, 1, 2, 0},
                        {3, 9, 1, 8},
                        {4, 3, 1, 1}})
    for (DType dtype : kFloatingDTypes) {
      const int64_t windows = (c.extent + 2 * c.padding - c.kernel) / c.stride + 1;
      const Array x = compact(dtype, {8, c.extent, c.extent, 16}), out = compact(dtype, {8, windows, windows, 32});
      const Array weight = compact(dtype, {c.kernel, c.kernel, 16, 32});
      const auto results = [&](const Kernels& kernels) {
        const Array grad_x = compact(dtype, {8, c.extent, c.extent, 16}), y = compact(dtype, {8, windows, windows, 32});
        const Array grad_weight = compact(dtype, {c.kernel, c.kernel, 16, 32});
        for (const Array& a : {grad_x, y, grad_weight})
          fill(a, [] { return std::numeric_limits<double>::quiet_NaN(); });
        kernels.conv2d(x, weight, y, c.stride, c.padding);
        kernels.conv2d_backward_data(out, weight, grad_x, c.stride, c.padding);
        kernels.conv2d_backward_weight(x, out, grad_weight, c.stride, c.padding);
        std::vector<double> all;
        for (const Array& a : {grad_x, y, grad_weight})
          for (double value : values(a)) all.push_back(value);
        return all;
      };
      Random random(1);
      for (const Array& a : {x, out, weight}) random.fill(a);
      const std::vector<double> expected = results(ours());
      const double tolerance = 4 * epsilon(dtype) + 1e3 * epsilon(DType::float32);
      std::ostringstream what;
      what << name(dtype) << " extent " << c.extent << " kernel " << c.kernel << " stride " << c.stride;
      EXPECT_NEAR(what.str(), results(either()), expected, tolerance, tolerance * largest(expected));
    }
}
