// Runs a kernel call block by block.
#pragma once

#include <string>

#include "kernels/testing/cuda_emulation/cuda_runtime.h"

namespace cuda_emulation {

inline constexpr unsigned kMaxThreads = 1024;  // of a block

// Runs the call for every thread of every block of the grid, or until one fails.
void run_grid(const dim3& grid, const dim3& block, const Call& call);

// Aborts the running grid. As on a GPU, nothing runs after that, and the host's next calls return the error.
[[noreturn]] void fail(const std::string& text);
const std::string& last_failure();  // "" if there was none
void forget_failure();

}  // namespace cuda_emulation
