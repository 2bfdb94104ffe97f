// What the emulation tells whoever checks the accesses of kernels: checked/access_checker.cc; or no_checks.cc, which
// does not listen. All of it happens on one thread at a time.
#pragma once

#include <cstddef>

namespace cuda_emulation::checks {

// A call of a kernel, whose threads may read its arguments. The blocks before it are done.
void grid_begins(const void* arguments, size_t nbytes);
void block_begins(unsigned number);

// A thread of the block goes on, with local memory of its own, until it waits or is done.
void turn_begins(unsigned thread, const void* stack, size_t nbytes);
void turn_ends();

// All threads of the block have come to a barrier; the lanes of `mask` in the warp of `thread` have.
void block_meets();
void lanes_meet(unsigned thread, unsigned mask);

void atomic_access(const void* address, size_t nbytes, const void* where);  // by the code at `where`
void lock_taken(const void* lock);      // atomicCAS has changed it
void lock_given_back(const void* lock);  // atomicExch has written to it

// Memory that kernels may use, from cudaMalloc or cudaHostAlloc.
void memory_begins(const void* memory, size_t nbytes);
void memory_ends(const void* memory);

}  // namespace cuda_emulation::checks
