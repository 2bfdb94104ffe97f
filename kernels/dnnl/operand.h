// Arrays as oneDNN's fast primitives take them: row-major, without gaps. One that lies so, as activations in
// channels-last order do, goes in where it is; another is copied.
#pragma once

#include "kernels/common/array.h"
#include "kernels/common/cpu_features.h"

namespace needle::dnnl {

// Whether oneDNN may have `a`: of a dtype that it has, not empty, and of less than 2 GiB, because the code that oneDNN
// generates counts in 32 bits here and there.
bool is_supported(const Array& a);

// A row-major copy of `a` in `dtype`.
Array copied(Level level, const Array& a, DType dtype);

// An operand that is read, as row-major numbers of `dtype`.
class Input {
 public:
  Input(Level level, const Array& a, DType dtype);
  Input(Level level, const Array& a) : Input(level, a, a.dtype) {}
  void* data() const;

 private:
  const Array used_;
};

// An operand that is written, as row-major numbers of `dtype`; finish() puts them where they belong.
class Output {
 public:
  Output(const Array& a, DType dtype);
  explicit Output(const Array& a) : Output(a, a.dtype) {}
  // The same for an operand that may be written where it is.
  Output(const Array& a, bool in_place);
  const Array& array() const { return used_; }
  void* data() const;
  void finish(Level level) const;

 private:
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

}  // namespace needle::dnnl
