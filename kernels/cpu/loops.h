// Strided iteration, shared by all kernels.
//
// Every kernel's inner loop sees contiguous elements in the compute type. Other operands (strided, flipped or broadcast
// ones, and half types, which are computed in float32) pass through a chunk of kChunk elements on the stack, which
// stays in the L1 cache. So each operation is written and compiled as one loop per type, which the compiler vectorizes,
// and strides and half types need one shared copy loop instead of a variant of every operation.
//
// Files in cpu/ are compiled once per instruction level (NEEDLE_LEVEL), each into its own namespace.
#pragma once

#include <memory>

#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/common/parallel.h"
#include "kernels/common/plan.h"
#include "kernels/cpu/kernels.h"

namespace needle::cpu::NEEDLE_LEVEL {

inline constexpr int64_t kChunk = 512;

// Returns the address of n contiguous elements of the compute type, given elements that start at `from` and are
// `stride` bytes apart: `from` itself if they already have that form, else `chunk` (room for n elements), which is
// filled. If n = 0, nothing is read.
using Load = const void* (*)(int64_t n, const std::byte* from, int64_t stride, void* chunk);
// Stores n consecutive elements of the compute type at `to`, `stride` bytes apart.
using Store = void (*)(int64_t n, const void* chunk, std::byte* to, int64_t stride);
Load load_for(DType dtype);
Store store_for(DType dtype);

// Whether elements of `dtype`, `stride` bytes apart, can be used without copying.
static inline bool is_direct(DType dtype, int64_t stride) { return stride == itemsize(dtype) && !is_half_dtype(dtype); }

// One pass over n consecutive elements. operands[0] is the first output.
using Loop = void (*)(int64_t n, void* const* operands, const void* context);

// Applies `loop` to every element. The first `outputs` arrays are written, and read first if `update` is set; the
// others are inputs, of the same shape or 0-d. `cost` is the work per element, where an addition is 1.
void elementwise(Loop loop, const Array* const* arrays, int num_arrays, int cost, int outputs = 1, bool update = false,
                 const void* context = nullptr);

// Applies `loop` to the first arrays of the lists, then to the second ones, and so on. All elements are divided among
// the threads as one piece of work, regardless of the arrays' sizes.
void elementwise(Loop loop, const ArrayList* lists, int num_lists, int cost, int outputs, bool update,
                 const void* context);

// The elements of several arrays of one shape, the first of which is dense, for a kernel that asks for them range by
// range, in the order in which the first one has them in memory.
class ElementRanges {
 public:
  // As of `elementwise`. `context` and what the arrays are in must outlive this.
  ElementRanges(Loop loop, const Array* const* arrays, int num_arrays, int outputs, const void* context);
  ~ElementRanges();

  // Whether ranges take no longer than `elementwise`, which does not go row by row if rows are short or transposed.
  bool are_fast() const;
  // Applies the loop to the elements begin, ..., end - 1. Those of the first array are at `first` instead of in its
  // memory, unless that is null.
  void run(int64_t begin, int64_t end, std::byte* first) const;

 private:
  std::unique_ptr<const struct Call> call_;
};

// How a type is stored. A bool is stored as a byte, which loops read as != 0, so that any byte value is well defined.
template <class T>
struct StoredType {
  using type = T;
};
template <>
struct StoredType<bool> {
  using type = uint8_t;
};
template <class T>
using Stored = typename StoredType<T>::type;

}  // namespace needle::cpu::NEEDLE_LEVEL
