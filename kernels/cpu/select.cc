// Selects the kernel table of an instruction level.
#include "kernels/common/error.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu {

namespace baseline {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}

const Kernels& kernels(Level level) {
  if (level > highest_level())
    throw std::runtime_error(
        message("this processor has no ", name(level), ", its highest level is ", name(highest_level())));
  switch (level) {
    case Level::baseline: return baseline::table;
    case Level::avx2: return avx2::table;
    default: return avx512::table;
  }
}

}  // namespace needle::cpu
