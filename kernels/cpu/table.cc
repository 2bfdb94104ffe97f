// The table of the kernels of one instruction level. Compiled once per level.
#include "kernels/cpu/kernels.h"

namespace needle::cpu::NEEDLE_LEVEL {

#define NEEDLE_POINTER(name, parameters, documentation) &name,
extern const Kernels table;
const Kernels table = {NEEDLE_KERNELS(NEEDLE_POINTER)};
#undef NEEDLE_POINTER

}  // namespace needle::cpu::NEEDLE_LEVEL
