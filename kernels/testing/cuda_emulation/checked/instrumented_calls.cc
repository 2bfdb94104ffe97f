// The functions that code compiled with gcc's -fsanitize=thread and
// -fsanitize=alignment,bounds,signed-integer-overflow calls.
#include <cstdint>

#include "kernels/testing/cuda_emulation/checked/access_checker.h"

using namespace cuda_emulation::checks;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define NEEDLE_CALLER __builtin_return_address(0)
#define NEEDLE_ACCESS(size)                                                                             \
  void __tsan_read##size(void* address) { aligned_access(address, size, Kind::read, NEEDLE_CALLER); }   \
  void __tsan_write##size(void* address) { aligned_access(address, size, Kind::write, NEEDLE_CALLER); } \
  void __tsan_unaligned_read##size(void* address) { access(address, size, Kind::read, NEEDLE_CALLER); } \
  void __tsan_unaligned_write##size(void* address) { access(address, size, Kind::write, NEEDLE_CALLER); }
NEEDLE_ACCESS(1)
NEEDLE_ACCESS(2)
NEEDLE_ACCESS(4)
NEEDLE_ACCESS(8)
NEEDLE_ACCESS(16)
#undef NEEDLE_ACCESS

void __tsan_read_range(void* address, size_t nbytes) { access(address, nbytes, Kind::read, NEEDLE_CALLER); }
void __tsan_write_range(void* address, size_t nbytes) { access(address, nbytes, Kind::write, NEEDLE_CALLER); }

// For host code in the same files, which is not checked.
void __tsan_vptr_update(void**, void*) {}
int32_t __tsan_atomic32_fetch_add(volatile int32_t* address, int32_t value, int order) {
  (void)order;
  return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);
}

// The first argument of each of these functions begins with its source location.
struct SourceLocation {
  const char* file;
  uint32_t line, column;
};

static void stop(const void* data, const char* text, const int64_t* number = nullptr) {
  const auto& location = *static_cast<const SourceLocation*>(data);
  report_at(location.file, location.line, text, number);
}

void __ubsan_handle_type_mismatch_v1(void* data, uintptr_t address) {
  const auto rest = static_cast<int64_t>(address % 256);
  stop(data, "an access at an address that its type may not have: modulo 256", &rest);
}
void __ubsan_handle_out_of_bounds(void* data, uintptr_t index) {
  const auto number = static_cast<int64_t>(index);
  stop(data, "an index that is not in the array:", &number);
}
void __ubsan_handle_add_overflow(void* data, uintptr_t, uintptr_t) { stop(data, "a sum overflows"); }
void __ubsan_handle_sub_overflow(void* data, uintptr_t, uintptr_t) { stop(data, "a difference overflows"); }
void __ubsan_handle_mul_overflow(void* data, uintptr_t, uintptr_t) { stop(data, "a product overflows"); }
void __ubsan_handle_negate_overflow(void* data, uintptr_t) { stop(data, "a negation overflows"); }
void __ubsan_handle_divrem_overflow(void* data, uintptr_t, uintptr_t) { stop(data, "a quotient overflows"); }

}  // extern "C"
