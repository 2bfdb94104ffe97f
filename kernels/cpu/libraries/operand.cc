#include "kernels/cpu/libraries/operand.h"

#include "kernels/common/plan.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu::libraries {
namespace {

bool lies_right(const Array& a, DType dtype) { return a.dtype == dtype && a.is_compact(); }

}  // namespace

Array copied(Level level, const Array& a, DType dtype) {
  Array copy = Array::compact(dtype, a.ndim, a.shape);
  cpu::kernels(level).copy(a, copy);
  return copy;
}

bool is_supported(const Array& a) {
  if (a.dtype != DType::float32 && a.dtype != DType::bfloat16 && a.dtype != DType::float16) return false;
  const int64_t size = a.size();
  return size > 0 && size <= INT32_MAX / itemsize(a.dtype);
}

Input::Input(Level level, const Array& a, DType dtype) : used_(lies_right(a, dtype) ? a : copied(level, a, dtype)) {}

void* Input::data() const { return first_byte(used_); }

Output::Output(const Array& a, DType dtype)
    : original_(a), is_copy_(!lies_right(a, dtype)), used_(is_copy_ ? Array::compact(dtype, a.ndim, a.shape) : a) {}

Output::Output(const Array& a, bool in_place)
    : original_(a), is_copy_(!in_place), used_(in_place ? a : Array::compact(a.dtype, a.ndim, a.shape)) {}

void* Output::data() const { return first_byte(used_); }

void Output::finish(Level level) const {
  if (is_copy_) cpu::kernels(level).copy(used_, original_);
}

}  // namespace needle::cpu::libraries
