// The events that the emulation reports to the access checker: checked/access_checker.cc, or no_checks.cc, whose
// functions are no-ops. Only one thread at a time reports events.
#pragma once

#include <cstddef>

namespace cuda_emulation::checks {

// A kernel call begins; its threads may read its arguments. All earlier blocks are done.
void grid_begins(const void* arguments, size_t nbytes);
void block_begins(unsigned number);

// A thread of the block runs, with its own local memory, until it waits or finishes.
void turn_begins(unsigned thread, const void* stack, size_t nbytes);
void turn_ends();

// block_meets: all threads of the block have reached a barrier; lanes_meet: the lanes of `mask` in the warp of
// `thread`.
void block_meets();
void lanes_meet(unsigned thread, unsigned mask);

void atomic_access(const void* address, size_t nbytes, const void* where);  // by the code at `where`
void lock_taken(const void* lock);                                          // atomicCAS has changed it
void lock_given_back(const void* lock);                                     // atomicExch has written to it

// Memory that kernels may use, from cudaMalloc or cudaHostAlloc.
void memory_begins(const void* memory, size_t nbytes);
void memory_ends(const void* memory);

}  // namespace cuda_emulation::checks
