// What compute-sanitizer's memcheck and racecheck are on a GPU, for kernels that the host runs: docs/cuda.md.
//
// The kernels are compiled with gcc's instrumentation for ThreadSanitizer, which calls a function at each access;
// instrumented_calls.cc has these functions in place of ThreadSanitizer's. An access must lie in memory that a kernel
// can reach; shared memory must be written before it is read; and two accesses to one byte, of which one writes, must
// be of one thread, or a barrier must stand between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_emulation::checks {

enum class Kind { read, write, atomic };

// A running kernel's access, made by the code at `where`. The kernel fails if anything is wrong with it.
void access(const void* address, size_t nbytes, Kind kind, const void* where);

// The same for an access of a type that has to lie at a multiple of its size.
void aligned_access(const void* address, size_t nbytes, Kind kind, const void* where);

// The running kernel fails; the program ends where none runs.
[[noreturn]] void report(const std::string& text, const void* where);
[[noreturn]] void report_at(const char* file, unsigned line, const char* text, const int64_t* number);

}  // namespace cuda_emulation::checks
