// Gathers rows of a matrix by index, and adds rows into a matrix by index.
#include <type_traits>

#include "kernels/cpu/indices.h"
#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// The byte address of row i of `a`, counted in row-major order over the leading axes.
class RowAddress {
 public:
  explicit RowAddress(const Array& a) : a_(a), first_(first_byte(a)), size_(itemsize(a.dtype)) {}
  std::byte* operator()(int64_t i) const {
    std::byte* address = first_;
    for (int d = a_.ndim - 2; d >= 0; --d) {
      address += i % a_.shape[d] * a_.strides[d] * size_;
      i /= a_.shape[d];
    }
    return address;
  }

 private:
  const Array& a_;
  std::byte* const first_;
  const int64_t size_;
};

template <class Word>
void copy_row(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride, int64_t width) {
  if (from_stride == sizeof(Word) && to_stride == sizeof(Word))
    std::memcpy(to, from, width * sizeof(Word));
  else
    for (int64_t c = 0; c < width; ++c) std::memcpy(to + c * to_stride, from + c * from_stride, sizeof(Word));
}

// T is the accumulation type. If out has another dtype or strided rows, the sums accumulate in a copy that is stored at
// the end, so that a half-type sum is rounded only once.
template <class T>
void scatter_add_typed(const Array& a, const int64_t* indices, int64_t count, const Array& out) {
  const int64_t rows = out.shape[0], width = out.shape[1];
  const RowAccess<T> read(a), update(out);
  const RowAddress a_row(a), out_row(out);
  const bool in_place = update.direct();
  const Scratch<T> sums(in_place ? 0 : rows * width);
  if (!in_place)
    for (int64_t r = 0; r < rows; ++r) update.read(out_row(r), 0, width, &sums[r * width]);

  // The columns are divided among the threads, so that each sum is accumulated in the order of the indices.
  constexpr int64_t kUnit = 64;  // columns; keeps threads from sharing a cache line of a compact row
  const int64_t units = (width + kUnit - 1) / kUnit;
  parallel_for(units, parallel_parts(units, count * width), [&](int, int64_t begin, int64_t end) {
    alignas(64) T scratch[kChunk];
    const int64_t last = end * kUnit < width ? end * kUnit : width;
    for (int64_t i = 0; i < count; ++i) {
      const std::byte* from = a_row(i);
      T* sum = in_place ? reinterpret_cast<T*>(out_row(indices[i])) : &sums[indices[i] * width];
      for (int64_t c = begin * kUnit; c < last; c += kChunk) {
        const int64_t n = last - c < kChunk ? last - c : kChunk;
        const T* values = read.read(from, c, n, scratch);
#pragma GCC ivdep
        for (int64_t j = 0; j < n; ++j) sum[c + j] = static_cast<T>(sum[c + j] + values[j]);
      }
    }
  });
  if (!in_place)
    for (int64_t r = 0; r < rows; ++r) update.finish(out_row(r), 0, width, &sums[r * width]);
}

}  // namespace

void gather(const Array& a, const Array& indices, const Array& out) {
  const int64_t count = indices.size(), width = a.shape[1];
  const Scratch<int64_t> rows(count);
  read_indices("gather", "index", indices, a.shape[0], rows.data());
  const RowAddress a_row(a), out_row(out);
  const int64_t size = itemsize(a.dtype);
  const int64_t from_stride = a.strides[1] * size, to_stride = out.strides[out.ndim - 1] * size;
  const auto copy = size == 8   ? copy_row<uint64_t>
                    : size == 4 ? copy_row<uint32_t>
                    : size == 2 ? copy_row<uint16_t>
                                : copy_row<uint8_t>;
  parallel_for(count, parallel_parts(count, count * width), [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copy(a_row(rows[i]), from_stride, out_row(i), to_stride, width);
  });
}

void scatter_add(const Array& a, const Array& indices, const Array& out) {
  const int64_t count = indices.size();
  const Scratch<int64_t> rows(count);
  read_indices("scatter_add", "index", indices, out.shape[0], rows.data());
  dispatch(a.dtype, [&](auto zero) {
    using T = Compute<decltype(zero)>;
    if constexpr (std::is_floating_point_v<T>)
      scatter_add_typed<T>(a, rows.data(), count, out);
    else if constexpr (!std::is_same_v<T, bool>)
      scatter_add_typed<std::make_unsigned_t<T>>(a, rows.data(), count, out);  // wraps around
  });
}

}  // namespace needle::cpu::NEEDLE_LEVEL
