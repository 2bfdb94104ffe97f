// Checked kernel launches on this thread's device.
#pragma once

#include <algorithm>
#include <tuple>
#include <utility>

#include "kernels/cuda/device.h"
#include "kernels/cuda/error.h"

namespace needle::cuda {

inline constexpr int kThreads = 256;  // default number of threads per block
inline constexpr int kWarp = 32;

// launch(kernel, blocks, threads per block, arguments...). An empty grid is a no-op, because CUDA rejects it.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = device().stream;
  NEEDLE_CUDA(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// The number of blocks for `count` items, `each` per block, for kernels with grid-stride loops: at most enough to fill
// the device a few times.
inline unsigned blocks_for(int64_t count, int64_t each) {
  const int64_t most = int64_t{device().multiprocessors} * 32;
  return static_cast<unsigned>(std::min((count + each - 1) / each, most));
}

}  // namespace needle::cuda
