#include "kernels/common/cpu_features.h"

namespace needle {

Level highest_level() {
  static const Level level = [] {
    __builtin_cpu_init();  // the queries below also check that the system saves the wide registers
    if (__builtin_cpu_supports("x86-64-v4")) return Level::avx512;
    if (__builtin_cpu_supports("x86-64-v3")) return Level::avx2;
    return Level::baseline;
  }();
  return level;
}

const char* name(Level level) {
  static constexpr const char* names[] = {"baseline", "avx2", "avx512"};
  return names[static_cast<int>(level)];
}

bool has_bfloat16_products() { return __builtin_cpu_supports("avx512bf16"); }

}  // namespace needle
