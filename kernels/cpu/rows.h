// Access to the last axis of an array as contiguous numbers of the compute type, for kernels that work on whole rows.
#pragma once

#include <cstring>

#include "kernels/common/sizes.h"
#include "kernels/cpu/loops.h"

namespace needle::cpu::NEEDLE_LEVEL {
namespace {

// Reads and writes parts of rows. T is Compute<> of the array's dtype.
template <class T>
class RowAccess {
 public:
  explicit RowAccess(const Array& a)
      : stride_(a.ndim == 0 || a.shape[a.ndim - 1] == 1 ? itemsize(a.dtype)
                                                        : a.strides[a.ndim - 1] * itemsize(a.dtype)),
        direct_(is_direct(a.dtype, stride_)),
        load_(load_for(a.dtype)),
        store_(store_for(a.dtype)) {}

  // Whether the elements can be used without copying.
  bool direct() const { return direct_; }

  // Returns elements begin..begin+n-1 of the row at `row`: in place if possible, else copied to `scratch`.
  const T* read(const std::byte* row, int64_t begin, int64_t n, T* scratch) const {
    return static_cast<const T*>(load_(n, row + begin * stride_, stride_, scratch));
  }

  // The address to write those elements to: in place or `scratch`. `finish` then stores them if they are in `scratch`.
  T* target(std::byte* row, int64_t begin, T* scratch) const {
    return direct_ ? reinterpret_cast<T*>(row + begin * stride_) : scratch;
  }
  void finish(std::byte* row, int64_t begin, int64_t n, const T* scratch) const {
    if (!direct_) store_(n, scratch, row + begin * stride_, stride_);
  }

 private:
  const int64_t stride_;
  const bool direct_;
  const Load load_;
  const Store store_;
};

// A scratch buffer of n numbers for one kernel call.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t n) : buffer_(saturated_product(n, sizeof(T))) {}
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  T& operator[](int64_t i) const { return data()[i]; }

 private:
  const Buffer buffer_;
};

// Copy a 1-d array to contiguous Ts and back.
template <class T>
void read_vector(const Array& a, T* to) {
  const int64_t n = a.shape[0];
  const T* from = RowAccess<T>(a).read(first_byte(a), 0, n, to);
  if (from != to) std::memcpy(to, from, n * sizeof(T));
}

template <class T>
void write_vector(const T* from, const Array& a) {
  const RowAccess<T> access(a);
  std::byte* to = first_byte(a);
  const int64_t n = a.shape[0];
  if (T* target = access.target(to, 0, nullptr)) std::memcpy(target, from, n * sizeof(T));
  access.finish(to, 0, n, from);
}

}  // namespace
}  // namespace needle::cpu::NEEDLE_LEVEL
