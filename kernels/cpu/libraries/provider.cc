#include "kernels/cpu/libraries/provider.h"

#include "kernels/common/cpu_features.h"
#include "kernels/cpu/libraries/kernels.h"
#include "kernels/cpu/libraries/library.h"
#include "kernels/cpu/libraries/primitive.h"

namespace needle::cpu::libraries {
namespace {

#define NEEDLE_ONE(name, parameters) +1
constexpr int kNumKernels = 0 NEEDLE_ONEDNN_KERNELS(NEEDLE_ONE);
#undef NEEDLE_ONE
ProviderState<kNumKernels> state;

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
#include "kernels/cpu/libraries/choice_table.inc"
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
    state.count_call(static_cast<int>(kernel));
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
  made.name = runner<level, Kernel::name, &Kernels::name, &libraries::name>(&Kernels::name);
    NEEDLE_ONEDNN_KERNELS(NEEDLE_SET)
#undef NEEDLE_SET
    return made;
  }();
  return kernels;
}

}  // namespace

void set_provider(Provider provider) { state.set_provider(provider); }

Provider provider() { return state.provider(); }

const Kernels& kernels(Level level) {
  switch (level) {
    case Level::baseline: return table<Level::baseline>();
    case Level::avx2: return table<Level::avx2>();
    default: return table<Level::avx512>();
  }
}

int64_t num_calls(Kernel kernel) { return state.num_calls(static_cast<int>(kernel)); }

bool is_chosen(Level level, Kernel kernel, ShapeClass shape_class, int64_t work) {
  switch (provider()) {
    case Provider::native: return false;
    case Provider::library: return library() != nullptr;
    case Provider::automatic: break;
  }
  // Without these instructions, our kernel took a third of oneDNN's time.
  if (shape_class == ShapeClass::bfloat16 && !has_bfloat16_products()) return false;
  for (const Choice& choice : kChoices)
    if (choice.level == level && choice.kernel == kernel && choice.shape_class == shape_class)
      return work >= choice.from && work < choice.to && library() != nullptr;
  return false;
}

}  // namespace needle::cpu::libraries
