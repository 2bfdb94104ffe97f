// Fills arrays with random numbers; kernels/cpu/random.h defines them and gives the formulas. They match the CPU's bit
// for bit, except for the last bits of normal numbers.
#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/cuda/compact.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.h"

namespace needle::cuda {
namespace {

// The four words of a block of Philox4x32-10.
__device__ void philox(uint64_t seed, uint64_t offset, uint64_t block, uint32_t (&words)[4]) {
  words[0] = static_cast<uint32_t>(block);
  words[1] = static_cast<uint32_t>(block >> 32);
  words[2] = static_cast<uint32_t>(offset);
  words[3] = static_cast<uint32_t>(offset >> 32);
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * words[0], product1 = uint64_t{0xCD9E8D57u} * words[2];
    words[0] = static_cast<uint32_t>(product1 >> 32) ^ words[1] ^ key0;
    words[1] = static_cast<uint32_t>(product1);
    words[2] = static_cast<uint32_t>(product0 >> 32) ^ words[3] ^ key1;
    words[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

__device__ double long_fraction(uint32_t low, uint32_t high) {  // in [0, 1)
  return static_cast<double>((low | static_cast<uint64_t>(high) << 32) >> 11) * 0x1p-53;
}

// Each generator turns a block's words into values: four, or two for float64.
struct Uniform {
  using Values = Pack<float, 4>;
  int bits;
  __device__ void operator()(const uint32_t (&w)[4], Values& values) const {
    for (int i = 0; i < 4; ++i)
      values.values[i] = static_cast<float>(w[i] >> (32 - bits)) * (1.0f / static_cast<float>(1 << bits));
  }
};

struct UniformDouble {
  using Values = Pack<double, 2>;
  __device__ void operator()(const uint32_t (&w)[4], Values& values) const {
    for (int i = 0; i < 2; ++i) values.values[i] = long_fraction(w[2 * i], w[2 * i + 1]);
  }
};

struct Normal {
  using Values = Pack<float, 4>;
  __device__ void operator()(const uint32_t (&w)[4], Values& values) const {
    for (int i = 0; i < 4; i += 2) {
      const float u = static_cast<float>((w[i] >> 8) + 1) * 0x1p-24f, v = static_cast<float>(w[i + 1] >> 8) * 0x1p-24f;
      const float radius = std::sqrt(-2.0f * std::log(u));
      float sine, cosine;
      sincospif(2.0f * v, &sine, &cosine);
      values.values[i] = radius * cosine;
      values.values[i + 1] = radius * sine;
    }
  }
};

struct NormalDouble {
  using Values = Pack<double, 2>;
  __device__ void operator()(const uint32_t (&w)[4], Values& values) const {
    const double u = long_fraction(w[0], w[1]) + 0x1p-53, v = long_fraction(w[2], w[3]);
    const double radius = std::sqrt(-2.0 * std::log(u));
    double sine, cosine;
    sincospi(2.0 * v, &sine, &cosine);
    values.values[0] = radius * cosine;
    values.values[1] = radius * sine;
  }
};

template <class T>
struct DropoutMask {
  using Values = Pack<T, 4>;
  uint32_t threshold;  // an element is dropped if its word, shifted right by 8, is below this
  T kept;
  __device__ void operator()(const uint32_t (&w)[4], Values& values) const {
    for (int i = 0; i < 4; ++i) values.values[i] = w[i] >> 8 < threshold ? T{0} : kept;
  }
};

// Writes out[i] for i = 0..n-1. A thread computes the elements of a block of words and writes them, in one instruction
// if `is_aligned`.
//
// A block takes 20 32 x 32 bit multiplications and about 50 other instructions, for 16 bytes of float32. An H100
// computes about 3 TB/s of these, as much as its memory bandwidth. So expected are three quarters of the bandwidth for
// uniform numbers and masks, half of it for those of half types, and half of it for normal numbers, which take a
// logarithm, root, sine and cosine per pair.
template <class T, class Generator>
__global__ void __launch_bounds__(kThreads)
    generate_kernel(Generator generator, uint64_t seed, uint64_t offset, int64_t n, T* out, bool is_aligned) {
  using Values = typename Generator::Values;
  constexpr int count = sizeof(Values::values) / sizeof(Values::values[0]);
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t block = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; block * count < n; block += step) {
    uint32_t words[4];
    philox(seed, offset, static_cast<uint64_t>(block), words);
    Values values;
    generator(words, values);
    Pack<T, count> stored;
#pragma unroll
    for (int i = 0; i < count; ++i) stored.values[i] = static_cast<T>(values.values[i]);
    if (is_aligned && (block + 1) * count <= n) {
      reinterpret_cast<Pack<T, count>*>(out)[block] = stored;
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i)
        if (block * count + i < n) out[block * count + i] = stored.values[i];
    }
  }
}

template <class T, class Generator>
void generate(const Array& out, int64_t seed, int64_t offset, const Generator& generator) {
  constexpr int64_t count = sizeof(typename Generator::Values) / sizeof(Generator::Values::values[0]);
  const Compact filled(out, Content::overwritten);
  const int64_t n = out.size();
  T* const to = filled.data<T>();
  const bool is_aligned = reinterpret_cast<uintptr_t>(to) % (count * sizeof(T)) == 0;
  launch(generate_kernel<T, Generator>, blocks_for((n + count - 1) / count, kThreads), kThreads, generator,
         static_cast<uint64_t>(seed), static_cast<uint64_t>(offset), n, to, is_aligned);
  filled.store();
}

}  // namespace

void random_uniform(const Array& out, int64_t seed, int64_t offset) {
  switch (out.dtype) {
    case DType::float64: return generate<double>(out, seed, offset, UniformDouble{});
    case DType::float16: return generate<float16>(out, seed, offset, Uniform{11});
    case DType::bfloat16: return generate<bfloat16>(out, seed, offset, Uniform{8});
    default: return generate<float>(out, seed, offset, Uniform{24});
  }
}

void random_normal(const Array& out, int64_t seed, int64_t offset) {
  switch (out.dtype) {
    case DType::float64: return generate<double>(out, seed, offset, NormalDouble{});
    case DType::float16: return generate<float16>(out, seed, offset, Normal{});
    case DType::bfloat16: return generate<bfloat16>(out, seed, offset, Normal{});
    default: return generate<float>(out, seed, offset, Normal{});
  }
}

void random_dropout_mask(const Array& out, double p, int64_t seed, int64_t offset) {
  const auto threshold = static_cast<uint32_t>(std::ceil(p * 16777216));
  const double kept = p < 1 ? 1 / (1 - p) : 0;
  dispatch_floating(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    generate<T>(out, seed, offset, DropoutMask<Compute<T>>{threshold, static_cast<Compute<T>>(kept)});
  });
}

}  // namespace needle::cuda
