// Random numbers that depend only on (seed, offset, element index): Philox4x32-10 (Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", 2011), a bijection of 128-bit counters under a 64-bit key.
//
//   key     = (seed & 0xffffffff, seed >> 32), the seed as an unsigned 64-bit number
//   counter = (block & 0xffffffff, block >> 32, offset & 0xffffffff, offset >> 32)
// give four 32-bit words w[0..3] per block. Element indices i are in row-major order, regardless of the strides.
//
// Two float64 elements, or four elements of any other type, share a block:
//   float32, float16, bfloat16: block = i / 4, lane = i % 4
//   float64:                    block = i / 2, lane = i % 2
//
// uniform in [0, 1), exactly representable in its type:
//   float32:   (w[lane] >> 8) * 2^-24
//   float16:   (w[lane] >> 21) * 2^-11
//   bfloat16:  (w[lane] >> 24) * 2^-8
//   float64:   ((w[2 lane] | w[2 lane + 1] << 32) >> 11) * 2^-53
//
// normal, by Box and Muller 1958, computed in float32 (float64 for float64) from a pair u in (0, 1], v in [0, 1):
//   r = sqrt(-2 log u);  even elements are r cos(2 pi v), odd ones r sin(2 pi v)
//   float32 and the half types: lanes 0 and 1 use u = ((w[0] >> 8) + 1) * 2^-24, v = (w[1] >> 8) * 2^-24; lanes 2 and 3
//     use w[2] and w[3] in the same way; the half types round the result
//   float64: u = (((w[0] | w[1] << 32) >> 11) + 1) * 2^-53, v = ((w[2] | w[3] << 32) >> 11) * 2^-53
//
// dropout mask: block = i / 4, lane = i % 4 for every type; 0 if (w[lane] >> 8) < p * 2^24, else 1 / (1 - p).
#pragma once

#include <cstdint>

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Writes the words of blocks first..first+kBlocks-1, one block after another.
inline constexpr int kBlocks = 32;
inline constexpr int kWords = 4 * kBlocks;

inline void philox(uint64_t seed, uint64_t offset, uint64_t first, uint32_t* words) {
  alignas(64) uint32_t counter[4][kBlocks];  // blocks are innermost, so that loops over them vectorize
  for (int j = 0; j < kBlocks; ++j) {
    const uint64_t block = first + static_cast<uint64_t>(j);
    counter[0][j] = static_cast<uint32_t>(block);
    counter[1][j] = static_cast<uint32_t>(block >> 32);
    counter[2][j] = static_cast<uint32_t>(offset);
    counter[3][j] = static_cast<uint32_t>(offset >> 32);
  }
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int j = 0; j < kBlocks; ++j) {
      const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0][j];
      const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2][j];
      counter[0][j] = static_cast<uint32_t>(product1 >> 32) ^ counter[1][j] ^ key0;
      counter[1][j] = static_cast<uint32_t>(product1);
      counter[2][j] = static_cast<uint32_t>(product0 >> 32) ^ counter[3][j] ^ key1;
      counter[3][j] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int j = 0; j < kBlocks; ++j)
    for (int k = 0; k < 4; ++k) words[4 * j + k] = counter[k][j];
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
