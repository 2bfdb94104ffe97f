// Fills arrays with random numbers; random.h defines them.
#include "kernels/cpu/random.h"

#include <cmath>

#include "kernels/cpu/loops.h"
#include "kernels/cpu/vector_math.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

constexpr int kCost = 8;

double long_fraction(const uint32_t* w) {  // in [0, 1), from two words
  return static_cast<double>((w[0] | static_cast<uint64_t>(w[1]) << 32) >> 11) * 0x1p-53;
}

// Each generator turns kWords words into a batch of Values, using kPerValue words per value.
template <int bits>
struct Uniform {
  using Value = float;
  static constexpr int kPerValue = 1;
  void operator()(const uint32_t* words, float* values) const {
    for (int i = 0; i < kWords; ++i)
      values[i] = static_cast<float>(static_cast<int32_t>(words[i] >> (32 - bits))) * (1.0f / (1 << bits));
  }
};

struct UniformDouble {
  using Value = double;
  static constexpr int kPerValue = 2;
  void operator()(const uint32_t* words, double* values) const {
    for (int i = 0; i < kWords / 2; ++i) values[i] = long_fraction(words + 2 * i);
  }
};

struct Normal {
  using Value = float;
  static constexpr int kPerValue = 1;
  void operator()(const uint32_t* words, float* values) const {
    for (int i = 0; i < kWords; i += 2) {
      const float u = static_cast<float>(static_cast<int32_t>(words[i] >> 8) + 1) * 0x1p-24f;
      const float v = static_cast<float>(static_cast<int32_t>(words[i + 1] >> 8)) * 0x1p-24f;
      const float radius = std::sqrt(-2.0f * math::log(u)), angle = 6.2831853f * v;
      values[i] = radius * math::cos(angle);
      values[i + 1] = radius * math::sin(angle);
    }
  }
};

struct NormalDouble {
  using Value = double;
  static constexpr int kPerValue = 2;
  void operator()(const uint32_t* words, double* values) const {
    for (int i = 0; i < kWords / 2; i += 2) {
      const double u = long_fraction(words + 2 * i) + 0x1p-53, v = long_fraction(words + 2 * i + 2);
      const double radius = std::sqrt(-2.0 * std::log(u)), angle = 6.283185307179586 * v;
      values[i] = radius * std::cos(angle);
      values[i + 1] = radius * std::sin(angle);
    }
  }
};

template <class T>
struct DropoutMask {
  using Value = T;
  static constexpr int kPerValue = 1;
  int32_t threshold;  // an element is dropped if its word, shifted right by 8, is below this
  T kept;
  void operator()(const uint32_t* words, T* values) const {
    const int32_t limit = threshold;  // local copies, which `values` cannot alias
    const T scale = kept;
    for (int i = 0; i < kWords; ++i) values[i] = static_cast<int32_t>(words[i] >> 8) < limit ? T{0} : scale;
  }
};

// Writes n values, row-major elements first..first+n-1 of out.
void store_elements(const Array& out, Store store, int64_t first, int64_t n, const std::byte* values,
                    int64_t value_size) {
  const int64_t size = itemsize(out.dtype);
  if (out.is_compact()) return store(n, values, first_byte(out) + first * size, size);
  const int64_t extent = out.shape[out.ndim - 1], stride = out.strides[out.ndim - 1] * size;
  while (n > 0) {
    std::byte* to = first_byte(out);
    int64_t row = first / extent;
    const int64_t column = first % extent, count = extent - column < n ? extent - column : n;
    for (int d = out.ndim - 2; d >= 0; --d) {
      to += row % out.shape[d] * out.strides[d] * size;
      row /= out.shape[d];
    }
    store(count, values, to + column * stride, stride);
    values += count * value_size;
    first += count;
    n -= count;
  }
}

template <class Generator>
void generate(const Array& out, int64_t seed, int64_t offset, const Generator& generator) {
  using Value = typename Generator::Value;
  constexpr int64_t kBatch = kWords / Generator::kPerValue;
  const int64_t size = out.size(), batches = (size + kBatch - 1) / kBatch;
  const Store store = store_for(out.dtype);
  parallel_for(batches, parallel_parts(batches, kCost * size), [&](int, int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kWords];
    alignas(64) Value values[kBatch];
    for (int64_t batch = begin; batch < end; ++batch) {
      philox(static_cast<uint64_t>(seed), static_cast<uint64_t>(offset), static_cast<uint64_t>(batch * kBlocks), words);
      generator(words, values);
      const int64_t first = batch * kBatch, n = size - first < kBatch ? size - first : kBatch;
      store_elements(out, store, first, n, reinterpret_cast<const std::byte*>(values), sizeof(Value));
    }
  });
}

}  // namespace

void random_uniform(const Array& out, int64_t seed, int64_t offset) {
  switch (out.dtype) {
    case DType::float64: return generate(out, seed, offset, UniformDouble{});
    case DType::float16: return generate(out, seed, offset, Uniform<11>{});
    case DType::bfloat16: return generate(out, seed, offset, Uniform<8>{});
    default: return generate(out, seed, offset, Uniform<24>{});
  }
}

void random_normal(const Array& out, int64_t seed, int64_t offset) {
  if (out.dtype == DType::float64)
    generate(out, seed, offset, NormalDouble{});
  else
    generate(out, seed, offset, Normal{});
}

void random_dropout_mask(const Array& out, double p, int64_t seed, int64_t offset) {
  const int32_t threshold = static_cast<int32_t>(std::ceil(p * 16777216));
  const double kept = p < 1 ? 1 / (1 - p) : 0;
  if (out.dtype == DType::float64)
    generate(out, seed, offset, DropoutMask<double>{threshold, kept});
  else
    generate(out, seed, offset, DropoutMask<float>{threshold, static_cast<float>(kept)});
}

}  // namespace needle::cpu::NEEDLE_LEVEL
