// A strided n-d array, the operand type of every kernel.
//
// Element (i0, i1, ...) lies at data[offset + i0 * strides[0] + i1 * strides[1] + ...]. Strides are in elements and may
// be zero (a broadcast) or negative (a flip). A transpose, slice, flip or broadcast is another Array over the same
// buffer.
//
// The constructor normalizes offsets and strides that no element depends on: an empty array gets offset and strides 0,
// and an axis of extent 1 gets its right neighbour's stride times that neighbour's extent. So no stride times its
// extent exceeds twice the buffer's size, and kernels need not guard that product against overflow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"

namespace needle {

inline constexpr int kMaxDims = 8;
using Dims = std::array<int64_t, kMaxDims>;
inline constexpr int64_t kMaxElements = int64_t{1} << 57;  // exclusive: a kernel may count an element's work 64 times

struct Array {
  BufferPtr buffer;
  DType dtype;
  int ndim;
  Dims shape{};
  Dims strides{};
  int64_t offset = 0;
  // The value of a scalar, which has no buffer. It is stored as an element of `dtype`, except that a half-type scalar
  // is stored as a float64: arithmetic then uses the unrounded number as a float32, and storing it rounds it only once.
  alignas(8) std::byte immediate[8] = {};

  // Throws ShapeError if any element would lie outside the buffer, or if there are more than kMaxDims dimensions or at
  // least kMaxElements elements.
  Array(BufferPtr buffer, DType dtype, int ndim, const Dims& shape, const Dims& strides, int64_t offset);

  // A row-major array in a new, uninitialized buffer.
  static Array compact(DType dtype, int ndim, const Dims& shape, MemoryPool& pool = host_pool());

  // A 0-d operand that stores its value inline; element-wise kernels broadcast it.
  static Array scalar(double value, DType dtype);
  static Array scalar(int64_t value, DType dtype);

  bool is_half_scalar() const { return !buffer && is_half_dtype(dtype); }
  // A half-type scalar rounded to its dtype; any other array unchanged.
  Array rounded_scalar() const;
  // The only element of a 0-d array of Ts, converted to Compute<T>.
  template <class T>
  Compute<T> number() const {
    return is_half_scalar() ? static_cast<Compute<T>>(*data<double>()) : static_cast<Compute<T>>(*data<T>());
  }

  template <class T>
  T* data() const {
    std::byte* start = buffer ? buffer->data() : const_cast<std::byte*>(immediate);
    return reinterpret_cast<T*>(start) + offset;
  }

  int64_t size() const;  // number of elements
  bool has_shape(std::initializer_list<int64_t> expected) const;
  bool is_compact() const;  // row-major, without gaps

 private:
  Array(DType dtype) : dtype(dtype), ndim(0) {}
};

// A non-owning list of arrays that a kernel processes in one call.
struct ArrayList {
  const Array* first;
  int64_t count;

  ArrayList(const std::vector<Array>& arrays) : first(arrays.data()), count(static_cast<int64_t>(arrays.size())) {}
  const Array& operator[](int64_t index) const { return first[index]; }
  const Array* begin() const { return first; }
  const Array* end() const { return first + count; }
};

Dims compact_strides(int ndim, const Dims& shape);  // row-major, without gaps
bool same_shape(const Array& a, const Array& b);
std::string shape_string(const Array& a);  // "(2, 3)"

}  // namespace needle
