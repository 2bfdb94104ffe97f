// The instruction sets that this processor and operating system support, as x86-64 psABI levels.
#pragma once

namespace needle {

enum class Level { baseline, avx2, avx512 };  // x86-64, x86-64-v3, x86-64-v4

Level highest_level();
const char* name(Level level);
bool has_bfloat16_products();  // AVX512_BF16, which no level includes

}  // namespace needle
