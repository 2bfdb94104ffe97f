// A kernel's call, done block by block.
#pragma once

#include <string>

#include "kernels/testing/cuda_emulation/cuda_runtime.h"

namespace cuda_emulation {

inline constexpr unsigned kMaxThreads = 1024;  // of a block

// Runs the call for every thread of every block of the grid, unless one fails.
void run_grid(const dim3& grid, const dim3& block, const Call& call);

// Ends the running grid. As on a GPU nothing goes on after that, and the host sees it in what its next calls return.
[[noreturn]] void fail(const std::string& text);
const std::string& last_failure();  // "" if there was none
void forget_failure();

}  // namespace cuda_emulation
