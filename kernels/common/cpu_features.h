// Which instruction sets this processor and operating system offer, as the x86-64 psABI's levels.
#pragma once

namespace needle {

enum class Level { baseline, avx2, avx512 };  // x86-64, x86-64-v3, x86-64-v4

Level highest_level();
const char* name(Level level);
bool has_bfloat16_products();  // AVX512_BF16, which no level has

}  // namespace needle
