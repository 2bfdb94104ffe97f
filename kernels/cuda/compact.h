// For kernels that need row-major operands.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

namespace needle::cuda {

enum class Content { used, overwritten };

// An operand as a row-major array of a dtype: either the array itself or a copy, which `store` writes back.
class Compact {
 public:
  Compact(const Array& a, DType dtype, Content content = Content::used)
      : original_(a),
        is_copy_(a.dtype != dtype || !a.is_compact()),
        used_(is_copy_ ? Array::compact(dtype, a.ndim, a.shape, *device().pool) : a) {
    if (is_copy_ && content == Content::used) copy(original_, used_);
  }
  explicit Compact(const Array& a, Content content = Content::used) : Compact(a, a.dtype, content) {}

  const Array& array() const { return used_; }
  template <class T>
  T* data() const {
    return used_.data<T>();
  }

  void store() const {
    if (is_copy_) copy(used_, original_);
  }

 private:
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

}  // namespace needle::cuda
