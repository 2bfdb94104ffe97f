// RAII wrappers of oneDNN's primitives and their descriptors.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <type_traits>

#include "kernels/common/dtype.h"
#include "kernels/cpu/libraries/library.h"

namespace needle::cpu::libraries {

// Thrown if oneDNN does not support a call. This is not an error: our kernel executes the call instead and overwrites
// anything already written.
struct Refused {};

// Throws Refused unless the status is success.
void check(dnnl_status_t status);

// The memory layout of an operand.
struct DestroyLayout {
  void operator()(dnnl_memory_desc_t layout) const { library()->memory_desc_destroy(layout); }
};
using Layout = std::unique_ptr<std::remove_pointer_t<dnnl_memory_desc_t>, DestroyLayout>;

Layout strided_layout(DType dtype, std::initializer_list<int64_t> extents, std::initializer_list<int64_t> strides);
// A layout that the primitive chooses.
Layout any_layout(DType dtype, std::initializer_list<int64_t> extents);
// Images (N, H, W, C), row-major. oneDNN's order of the axes is N, C, H, W.
Layout image_layout(DType dtype, int64_t n, int64_t height, int64_t width, int64_t channels);

// A primitive that is described but not compiled yet.
struct DestroyPrimitiveDesc {
  void operator()(dnnl_primitive_desc_t desc) const { library()->primitive_desc_destroy(desc); }
};
using PrimitiveDesc = std::unique_ptr<std::remove_pointer_t<dnnl_primitive_desc_t>, DestroyPrimitiveDesc>;

// The description that create(&desc), one of oneDNN's ..._primitive_desc_create, makes. Throws Refused.
PrimitiveDesc describe(const std::function<dnnl_status_t(dnnl_primitive_desc_t*)>& create);

// Whether oneDNN has an optimized implementation, not just its reference implementation.
bool is_fast(const PrimitiveDesc& desc);

// One of oneDNN's DNNL_ARG_ numbers, and the address of the operand.
struct Argument {
  int number;
  void* data;
};

class Primitive {
 public:
  // Throws Refused.
  explicit Primitive(PrimitiveDesc desc);

  // The layout that the primitive expects of an operand.
  const_dnnl_memory_desc_t layout(int argument) const;
  int64_t nbytes(int argument) const;

  // Skips arguments whose data is null. Scratch memory comes from the pool. Thread-safe. Throws Refused.
  void run(std::initializer_list<Argument> arguments) const;

 private:
  struct Destroy {
    void operator()(dnnl_primitive_t primitive) const { library()->primitive_destroy(primitive); }
  };
  PrimitiveDesc desc_;
  std::unique_ptr<std::remove_pointer_t<dnnl_primitive_t>, Destroy> primitive_;
};

// A primitive that copies numbers from one layout to another, or nothing if the layouts are equal. Throws Refused.
std::optional<Primitive> make_reorder(const_dnnl_memory_desc_t from, const_dnnl_memory_desc_t to);

}  // namespace needle::cpu::libraries
