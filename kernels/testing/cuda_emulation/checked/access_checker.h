// The counterpart of compute-sanitizer's memcheck and racecheck for kernels that run on the host: docs/cuda.md.
//
// The kernels are compiled with gcc's instrumentation for ThreadSanitizer, which calls a function at each access;
// instrumented_calls.cc provides these functions instead of ThreadSanitizer. An access must be to memory that a kernel
// may use. Shared memory must be written before it is read. Two accesses to one byte, at least one of them a write,
// must be by the same thread or be separated by a barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_emulation::checks {

enum class Kind { read, write, atomic };

// Checks a running kernel's access, made by the code at `where`. The kernel fails if the access is invalid.
void access(const void* address, size_t nbytes, Kind kind, const void* where);

// The same for an access that must be aligned to its size.
void aligned_access(const void* address, size_t nbytes, Kind kind, const void* where);

// Makes the running kernel fail; aborts the program if no kernel is running.
[[noreturn]] void report(const std::string& text, const void* where);
[[noreturn]] void report_at(const char* file, unsigned line, const char* text, const int64_t* number);

}  // namespace cuda_emulation::checks
