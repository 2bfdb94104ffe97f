// Vector registers in gcc's vector extensions.
#pragma once

#include <cstdint>

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The size of a register of this instruction level.
#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif
template <class T>
inline constexpr int64_t kLanes = kVectorBytes / sizeof(T);

// `unaligned` is for pointers to numbers in memory, at any address.
template <class T, int bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(bytes)));
  typedef T unaligned __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
};
// One register of Ts.
template <class T>
using Vector = typename VectorOf<T, kVectorBytes>::type;
template <class T>
using UnalignedVector = typename VectorOf<T, kVectorBytes>::unaligned;

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
