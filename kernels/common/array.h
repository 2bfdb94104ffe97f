// A strided n-d array: what every kernel takes and writes.
//
// Element (i0, i1, ...) lies at data[offset + i0 * strides[0] + i1 * strides[1] + ...]. Strides count elements and may be
// zero (a broadcast) or negative (a flip). A transpose, slice, flip or broadcast is another Array over the same buffer.
//
// What no element depends on becomes harmless when an Array is made: the offset and the strides of an empty array are 0,
// and the stride of an axis of extent 1 is that of its neighbour, times the latter's extent. So no stride times its
// extent is more than twice the buffer's size, and kernels need not think of overflow there.
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
  // The value of a scalar, which has no buffer: an element or, beside arrays of a half type, a float64, so that arithmetic
  // has the number itself, as a float32, and what stores it rounds it once.
  alignas(8) std::byte immediate[8] = {};

  // Throws ShapeError where any element would lie outside the buffer, or there are more than kMaxDims dimensions or
  // kMaxElements elements or more.
  Array(BufferPtr buffer, DType dtype, int ndim, const Dims& shape, const Dims& strides, int64_t offset);

  // A row-major array in a buffer of its own, whose elements are whatever was there.
  static Array compact(DType dtype, int ndim, const Dims& shape, MemoryPool& pool = host_pool());

  // A 0-d operand that carries its value along; element-wise kernels broadcast it.
  static Array scalar(double value, DType dtype);
  static Array scalar(int64_t value, DType dtype);

  bool is_half_scalar() const { return !buffer && is_half_dtype(dtype); }
  // A half type's scalar as the number that its dtype has for it; any other array as it is.
  Array rounded_scalar() const;
  // The only element of a 0-d array of Ts, as arithmetic takes it.
  template <class T>
  Compute<T> number() const {
    return is_half_scalar() ? static_cast<Compute<T>>(*data<double>()) : static_cast<Compute<T>>(*data<T>());
  }

  template <class T>
  T* data() const {
    std::byte* start = buffer ? buffer->data() : const_cast<std::byte*>(immediate);
    return reinterpret_cast<T*>(start) + offset;
  }

  int64_t size() const;                                    // number of elements
  bool has_shape(std::initializer_list<int64_t> expected) const;
  bool is_compact() const;                                 // row-major, without gaps

 private:
  Array(DType dtype) : dtype(dtype), ndim(0) {}
};

// Arrays that a kernel takes as one piece of work. Does not own them.
struct ArrayList {
  const Array* first;
  int64_t count;

  ArrayList(const std::vector<Array>& arrays) : first(arrays.data()), count(static_cast<int64_t>(arrays.size())) {}
  const Array& operator[](int64_t index) const { return first[index]; }
  const Array* begin() const { return first; }
  const Array* end() const { return first + count; }
};

bool same_shape(const Array& a, const Array& b);
std::string shape_string(const Array& a);                  // "(2, 3)"

}  // namespace needle
