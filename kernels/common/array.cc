#include "kernels/common/array.h"

#include <cstdlib>
#include <utility>

#include "kernels/common/convert.h"
#include "kernels/common/dispatch.h"
#include "kernels/common/error.h"
#include "kernels/common/sizes.h"

namespace needle {

Array::Array(BufferPtr buffer_, DType dtype, int ndim, const Dims& shape, const Dims& strides, int64_t offset)
    : buffer(std::move(buffer_)), dtype(dtype), ndim(ndim), shape(shape), strides(strides), offset(offset) {
  if (ndim < 0 || ndim > kMaxDims)
    throw ShapeError(message("array: ", ndim, " dimensions, expected at most ", kMaxDims));
  int64_t size = 1;  // product of the nonzero extents, because kernels multiply extents in any order
  bool empty = false;
  for (int d = 0; d < ndim; ++d) {
    if (shape[d] < 0) throw ShapeError(message("array: negative extent in shape ", shape_string(*this)));
    if (shape[d] == 0)
      empty = true;
    else
      size = saturated_product(size, shape[d]);
  }
  if (size >= kMaxElements)
    throw ShapeError(message("array: shape ", shape_string(*this), ", expected fewer than 2^57 elements"));
  if (empty) {
    this->strides = {};
    this->offset = 0;
    return;
  }
  int64_t first = offset, last = offset;  // the lowest and highest element index that the array reaches
  bool overflow = false;
  for (int d = 0; d < ndim; ++d) {
    int64_t reach;
    overflow |= __builtin_mul_overflow(shape[d] - 1, strides[d], &reach);
    int64_t& end = strides[d] < 0 ? first : last;
    overflow |= __builtin_add_overflow(end, reach, &end);
  }
  if (overflow || first < 0 || last >= buffer->nbytes() / itemsize(dtype))
    throw ShapeError(message("array: shape ", shape_string(*this), " of ", name(dtype), " at offset ", offset,
                             " reaches outside its buffer of ", buffer->nbytes(), " bytes"));
  for (int d = ndim - 1; d >= 0; --d)
    if (shape[d] == 1) this->strides[d] = d + 1 < ndim ? std::abs(this->strides[d + 1]) * shape[d + 1] : 1;
}

Dims compact_strides(int ndim, const Dims& shape) {
  Dims strides{};
  int64_t size = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    strides[d] = size;
    size = saturated_product(size, shape[d]);
  }
  return strides;
}

Array Array::compact(DType dtype, int ndim, const Dims& shape, MemoryPool& pool) {
  const Dims strides = compact_strides(ndim, shape);
  const int64_t size = ndim == 0 ? 1 : saturated_product(strides[0], shape[0]);
  const int64_t nbytes = saturated_product(size, itemsize(dtype));
  return Array(std::make_shared<Buffer>(nbytes, pool), dtype, ndim, shape, strides, 0);
}

template <class Value>
static void store_immediate(Array& array, Value value) {
  dispatch(array.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Stored = std::conditional_t<std::is_same_v<Compute<T>, T>, T, double>;
    const Stored element = static_cast<Stored>(value);
    std::memcpy(array.immediate, &element, sizeof element);
  });
}

Array Array::scalar(double value, DType dtype) {
  Array array(dtype);
  store_immediate(array, value);
  return array;
}

Array Array::scalar(int64_t value, DType dtype) {
  Array array(dtype);
  store_immediate(array, value);
  return array;
}

Array Array::rounded_scalar() const {
  if (!is_half_scalar()) return *this;
  const float nearly = ToOddFloat::apply(*data<double>());
  const float rounded =
      dtype == DType::float16 ? static_cast<float>(float16(nearly)) : static_cast<float>(bfloat16(nearly));
  return scalar(static_cast<double>(rounded), dtype);
}

int64_t Array::size() const {
  int64_t product = 1;
  for (int d = 0; d < ndim; ++d) product *= shape[d];
  return product;
}

bool Array::has_shape(std::initializer_list<int64_t> expected) const {
  if (static_cast<int>(expected.size()) != ndim) return false;
  int d = 0;
  for (int64_t extent : expected)
    if (shape[d++] != extent) return false;
  return true;
}

bool Array::is_compact() const {
  if (size() == 0) return true;
  int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    if (shape[d] != 1 && strides[d] != stride) return false;
    stride *= shape[d];
  }
  return true;
}

bool same_shape(const Array& a, const Array& b) {
  if (a.ndim != b.ndim) return false;
  for (int d = 0; d < a.ndim; ++d)
    if (a.shape[d] != b.shape[d]) return false;
  return true;
}

std::string shape_string(const Array& a) {
  std::string text = "(";
  for (int d = 0; d < a.ndim; ++d) text += (d ? ", " : "") + std::to_string(a.shape[d]);
  return text + (a.ndim == 1 ? ",)" : ")");
}

}  // namespace needle
