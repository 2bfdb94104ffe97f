// Arrays in the form that oneDNN's fast primitives take: row-major, without gaps. Arrays that already have this layout,
// such as channels-last activations, are used without copying; others are copied.
#pragma once

#include "kernels/common/array.h"
#include "kernels/common/cpu_features.h"

namespace needle::cpu::libraries {

// Whether `a` can be passed to oneDNN: it must have a dtype that oneDNN supports, be nonempty and be smaller than 2
// GiB, because some of the code that oneDNN generates uses 32-bit offsets.
bool is_supported(const Array& a);

// A row-major copy of `a` in `dtype`.
Array copied(Level level, const Array& a, DType dtype);

// An input operand as row-major numbers of `dtype`.
class Input {
 public:
  Input(Level level, const Array& a, DType dtype);
  Input(Level level, const Array& a) : Input(level, a, a.dtype) {}
  void* data() const;

 private:
  const Array used_;
};

// An output operand as row-major numbers of `dtype`; finish() copies them to the original array if necessary.
class Output {
 public:
  Output(const Array& a, DType dtype);
  explicit Output(const Array& a) : Output(a, a.dtype) {}
  // For an operand that is written directly if `in_place` is set, whatever its layout.
  Output(const Array& a, bool in_place);
  const Array& array() const { return used_; }
  void* data() const;
  void finish(Level level) const;

 private:
  const Array& original_;
  const bool is_copy_;
  const Array used_;
};

}  // namespace needle::cpu::libraries
