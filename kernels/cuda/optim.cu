// In-place optimizer steps for many parameters at once. float16 and bfloat16 state is updated in float32 and rounded
// once.
#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/cuda/compact.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// Each step updates one element, in the compute type C: the parameter comes first, the gradient last, and the state in
// between.

// The gradient with weight decay. If decay is 0 the parameter is left out, because 0 times an infinite one is NaN.
template <class C>
__device__ C decayed(C grad, C decay, C parameter) {
  return decay == 0 ? grad : grad + decay * parameter;
}

template <class C>
struct PlainSgd {
  static constexpr int kLists = 2;
  C learning_rate, decay;

  __device__ void operator()(C& parameter, const C& grad) const {
    parameter -= learning_rate * decayed(grad, decay, parameter);
  }
};

template <class C>
struct MomentumSgd {
  static constexpr int kLists = 3;
  C learning_rate, decay, momentum, fresh;  // fresh = 1 - dampening
  bool nesterov;

  __device__ void operator()(C& parameter, C& velocity, const C& grad) const {
    const C g = decayed(grad, decay, parameter);
    velocity = momentum * velocity + fresh * g;
    parameter -= learning_rate * (nesterov ? g + momentum * velocity : velocity);
  }
};

template <class C>
struct Adam {
  static constexpr int kLists = 4;
  C beta1, fresh1, beta2, fresh2;  // fresh = 1 - beta
  C step_size, correction, eps;    // learning_rate / (1 - beta1^step); 1 / (1 - beta2^step)
  C decay, kept;                   // decay added to the gradient; parameter's factor under decoupled decay

  __device__ void operator()(C& parameter, C& first_moment, C& second_moment, const C& grad) const {
    const C g = decayed(grad, decay, parameter);
    first_moment = beta1 * first_moment + fresh1 * g;
    second_moment = beta2 * second_moment + fresh2 * g * g;
    parameter = kept * parameter - step_size * first_moment / (std::sqrt(second_moment * correction) + eps);
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// One launch updates all parameters of a table. A network has many small ones, and a launch for each would take longer
// than moving its bytes.

constexpr int kChunk = 4096;  // elements that a block updates

// A number that must be finite, or the step is a no-op. The device reads it, so the host need not wait for it.
struct Condition {
  const void* number = nullptr;  // null: no condition
  bool is_double = false;

  explicit Condition(const ArrayList& only_if_finite) {
    if (only_if_finite.count == 0) return;
    number = first_byte(only_if_finite[0]);
    is_double = only_if_finite[0].dtype == DType::float64;
  }

  __device__ bool holds() const {
    if (!number) return true;
    return is_double ? std::isfinite(*static_cast<const double*>(number))
                     : std::isfinite(*static_cast<const float*>(number));
  }
};

// Compact arrays, kLists per parameter, and the blocks that update each. A launch takes the table by value: up to 4 KB.
template <int kLists>
struct Table {
  static constexpr int kMostParameters = 3500 / (kLists * sizeof(void*) + sizeof(int64_t) + sizeof(unsigned));
  int count = 0;
  unsigned first_block[kMostParameters + 1] = {};
  int64_t size[kMostParameters];
  std::byte* data[kMostParameters][kLists];

  void add(int64_t elements, std::byte* const (&lists)[kLists]) {
    size[count] = elements;
    std::copy(lists, lists + kLists, data[count]);
    first_block[count + 1] = first_block[count] + static_cast<unsigned>((elements + kChunk - 1) / kChunk);
    ++count;
  }
};

template <int width, class T, class Step, int... k>
__device__ void update(const Step& step, int64_t i, T* const (&lists)[Step::kLists], std::integer_sequence<int, k...>) {
  Pack<T, width> packs[] = {reinterpret_cast<const Pack<T, width>*>(lists[k])[i]...};
#pragma unroll
  for (int j = 0; j < width; ++j) {
    Compute<T> values[] = {static_cast<Compute<T>>(packs[k].values[j])...};
    step(values[k]...);
    ((packs[k].values[j] = static_cast<T>(values[k])), ...);
  }
#pragma unroll
  for (int list = 0; list < Step::kLists - 1; ++list) reinterpret_cast<Pack<T, width>*>(lists[list])[i] = packs[list];
}

// Bound by memory: parameter, state and gradient are read, and all but the gradient are written, 16 bytes at a time.
// Adam in float32 moves 28 bytes per element. Expected: 90 % of the bandwidth, so 10 million elements in 93 us on an
// H100.
template <class T, class Step>
__global__ void __launch_bounds__(kThreads)
    step_kernel(const __grid_constant__ Table<Step::kLists> table, const Condition condition, const Step step) {
  if (!condition.holds()) return;
  constexpr int width = 16 / sizeof(T);
  constexpr auto every_list = std::make_integer_sequence<int, Step::kLists>();
  int low = 0;  // this block's parameter is one of low..high-1
  for (int high = table.count; high - low > 1;) {
    const int middle = (low + high) / 2;
    (table.first_block[middle] <= blockIdx.x ? low : high) = middle;
  }
  const int64_t begin = int64_t{blockIdx.x - table.first_block[low]} * kChunk, left = table.size[low] - begin;
  const int n = left < kChunk ? static_cast<int>(left) : kChunk;
  T* lists[Step::kLists];
  bool is_aligned = true;
#pragma unroll
  for (int k = 0; k < Step::kLists; ++k) {
    lists[k] = reinterpret_cast<T*>(table.data[low][k]) + begin;
    is_aligned &= reinterpret_cast<uintptr_t>(lists[k]) % 16 == 0;
  }
  const int packed = is_aligned ? n / width : 0, thread = static_cast<int>(threadIdx.x);
  for (int pack = thread; pack < packed; pack += kThreads) update<width>(step, pack, lists, every_list);
  for (int i = packed * width + thread; i < n; i += kThreads) update<1>(step, i, lists, every_list);
}

template <class T, class Step>
void launch_step(Table<Step::kLists>& table, const Condition& condition, const Step& step) {
  launch(step_kernel<T, Step>, table.first_block[table.count], kThreads, table, condition, step);
  table.count = 0;
}

// lists[0] are the parameters, the last one their gradients.
template <class T, class Step, int... k>
void update_all(const Condition& condition, const Step& step, const ArrayList (&lists)[Step::kLists],
                std::integer_sequence<int, k...>) {
  Table<Step::kLists> table;
  for (int64_t i = 0; i < lists[0].count; ++i) {
    const Array* const arrays[] = {&lists[k][i]...};
    const Plan plan(arrays, Step::kLists, kAllAxes);
    if (plan.size == 0) continue;
    if (is_dense(plan, arrays, 1)) {
      table.add(plan.size, {plan.data[k]...});
      if (table.count == table.kMostParameters) launch_step<T>(table, condition, step);
    } else {
      const Compact copies[] = {Compact(*arrays[k])...};
      Table<Step::kLists> alone;
      alone.add(plan.size, {first_byte(copies[k].array())...});
      launch_step<T>(alone, condition, step);
      for (int list = 0; list < Step::kLists - 1; ++list) copies[list].store();
    }
  }
  launch_step<T>(table, condition, step);
}

template <class T, class Step>
void update_all(const ArrayList& only_if_finite, const Step& step, const ArrayList (&lists)[Step::kLists]) {
  update_all<T>(Condition(only_if_finite), step, lists, std::make_integer_sequence<int, Step::kLists>());
}

}  // namespace

void sgd_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& velocities, double learning_rate,
              double momentum, double dampening, double weight_decay, bool nesterov, const ArrayList& only_if_finite) {
  if (parameters.count == 0) return;
  dispatch_floating(parameters[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Compute<T>;
    const C rate = static_cast<C>(learning_rate), decay = static_cast<C>(weight_decay);
    if (momentum == 0)
      update_all<T>(only_if_finite, PlainSgd<C>{rate, decay}, {parameters, grads});
    else
      update_all<T>(only_if_finite,
                    MomentumSgd<C>{rate, decay, static_cast<C>(momentum), static_cast<C>(1 - dampening), nesterov},
                    {parameters, velocities, grads});
  });
}

void adam_step(const ArrayList& parameters, const ArrayList& grads, const ArrayList& first_moments,
               const ArrayList& second_moments, double learning_rate, double beta1, double beta2, double eps,
               double weight_decay, bool decoupled, int64_t step, const ArrayList& only_if_finite) {
  if (parameters.count == 0) return;
  const double t = static_cast<double>(step);
  const double step_size = learning_rate / (1 - std::pow(beta1, t)), correction = 1 / (1 - std::pow(beta2, t));
  const double coupled = decoupled ? 0 : weight_decay, kept = decoupled ? 1 - learning_rate * weight_decay : 1;
  dispatch_floating(parameters[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto c = [](double value) { return static_cast<Compute<T>>(value); };
    const Adam<Compute<T>> adam{c(beta1),      c(1 - beta1), c(beta2),   c(1 - beta2), c(step_size),
                                c(correction), c(eps),       c(coupled), c(kept)};
    update_all<T>(only_if_finite, adam, {parameters, first_moments, second_moments, grads});
  });
}

}  // namespace needle::cuda
