#include "kernels/dnnl/provider.h"

#include <atomic>

#include "kernels/common/cpu_features.h"
#include "kernels/dnnl/kernels.h"
#include "kernels/dnnl/library.h"
#include "kernels/dnnl/primitive.h"

namespace needle::dnnl {
namespace {

std::atomic<Provider> current{Provider::automatic};

#define NEEDLE_ONE(name, parameters) +1
constexpr int kNumKernels = 0 NEEDLE_ONEDNN_KERNELS(NEEDLE_ONE);
#undef NEEDLE_ONE
std::atomic<int64_t> calls[kNumKernels];

// One line of the measurements: oneDNN was faster for from <= work < to.
struct Choice {
  Level level;
  Kernel kernel;
  ShapeClass shape_class;
  double from, to;
};
constexpr double kAnyWork = 1e300;
constexpr Choice kChoices[] = {
#define NEEDLE_CHOICE(level, kernel, shape_class, from, to) \
  {Level::level, Kernel::kernel, ShapeClass::shape_class, from, to},
#include "kernels/dnnl/choice_table.inc"
#undef NEEDLE_CHOICE
};

// Tries the call with oneDNN and returns whether it succeeded.
template <Level level, auto onednn, class... Parameters>
bool is_done(Parameters... parameters) {
  try {
    return provider() != Provider::native && onednn(level, parameters...);
  } catch (const Refused&) {
    return false;
  }
}

template <Level level, Kernel kernel, auto ours, auto onednn, class... Parameters>
void run(Parameters... parameters) {
  if (is_done<level, onednn, Parameters...>(parameters...))
    calls[static_cast<int>(kernel)].fetch_add(1, std::memory_order_relaxed);
  else
    (cpu::kernels(level).*ours)(parameters...);
}

template <Level level, Kernel kernel, auto ours, auto onednn, class... Parameters>
constexpr auto runner(void (*Kernels::*)(Parameters...)) {
  return &run<level, kernel, ours, onednn, Parameters...>;
}

template <Level level>
const Kernels& table() {
  static const Kernels kernels = [] {
    Kernels made = cpu::kernels(level);
#define NEEDLE_SET(name, parameters) \
  made.name = runner<level, Kernel::name, &Kernels::name, &dnnl::name>(&Kernels::name);
    NEEDLE_ONEDNN_KERNELS(NEEDLE_SET)
#undef NEEDLE_SET
    return made;
  }();
  return kernels;
}

}  // namespace

void set_provider(Provider provider) { current = provider; }

Provider provider() { return current.load(std::memory_order_relaxed); }

const Kernels& kernels(Level level) {
  switch (level) {
    case Level::baseline: return table<Level::baseline>();
    case Level::avx2: return table<Level::avx2>();
    default: return table<Level::avx512>();
  }
}

int64_t num_calls(Kernel kernel) { return calls[static_cast<int>(kernel)].load(std::memory_order_relaxed); }

bool is_chosen(Level level, Kernel kernel, ShapeClass shape_class, int64_t work) {
  switch (provider()) {
    case Provider::native: return false;
    case Provider::onednn: return library() != nullptr;
    case Provider::automatic: break;
  }
  // Without these instructions, our kernel took a third of oneDNN's time.
  if (shape_class == ShapeClass::bfloat16 && !has_bfloat16_products()) return false;
  for (const Choice& choice : kChoices)
    if (choice.level == level && choice.kernel == kernel && choice.shape_class == shape_class)
      return work >= choice.from && work < choice.to && library() != nullptr;
  return false;
}

}  // namespace needle::dnnl
