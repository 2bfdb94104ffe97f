#include "kernels/cuda/libraries/provider.h"

#include <atomic>
#include <limits>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/libraries/kernels.h"

namespace needle::cuda::libraries {
namespace {

std::atomic<bool> tf32{false};

#define NEEDLE_ONE(name, parameters) +1
constexpr int kNumKernels = 0 NEEDLE_NVIDIA_KERNELS(NEEDLE_ONE);
#undef NEEDLE_ONE
ProviderState<kNumKernels> state;

struct Choice {
  Kernel kernel;
  ShapeClass shape_class;
  double from, to;
};
constexpr double kAnyWork = std::numeric_limits<double>::infinity();
constexpr Choice kChoices[] = {
#define NEEDLE_CHOICE(kernel, shape_class, from, to) {Kernel::kernel, ShapeClass::shape_class, from, to},
#include "kernels/cuda/libraries/choice_table.inc"
#undef NEEDLE_CHOICE
};

template <Kernel kernel, auto ours, auto library, class... Parameters>
void run(Parameters... parameters) {
  if (provider() != Provider::native && library(parameters...))
    state.count_call(static_cast<int>(kernel));
  else
    (cuda::kernels().*ours)(parameters...);
}

template <Kernel kernel, auto ours, auto library, class... Parameters>
constexpr auto runner(void (*Kernels::*)(Parameters...)) {
  return &run<kernel, ours, library, Parameters...>;
}

}  // namespace

void set_provider(Provider provider) { state.set_provider(provider); }
Provider provider() { return state.provider(); }

void allow_tf32(bool allowed) { tf32 = allowed; }
bool allows_tf32() { return tf32.load(std::memory_order_relaxed); }

int64_t num_calls(Kernel kernel) { return state.num_calls(static_cast<int>(kernel)); }

bool is_chosen(Kernel kernel, DType dtype, int64_t work) {
  if (provider() != Provider::automatic) return provider() == Provider::library;
  const bool is_half = dtype == DType::float16 || dtype == DType::bfloat16;
  const ShapeClass shape_class = is_half ? ShapeClass::half : ShapeClass::any;
  for (const Choice& choice : kChoices)
    if (choice.kernel == kernel && choice.shape_class == shape_class) return work >= choice.from && work < choice.to;
  return false;
}

const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels made = cuda::kernels();
#define NEEDLE_SET(name, parameters) made.name = runner<Kernel::name, &Kernels::name, &libraries::name>(&Kernels::name);
    NEEDLE_NVIDIA_KERNELS(NEEDLE_SET)
#undef NEEDLE_SET
    return made;
  }();
  return table;
}

}  // namespace needle::cuda::libraries
