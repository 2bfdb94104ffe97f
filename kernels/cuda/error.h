// Every call of the CUDA runtime is checked: NEEDLE_CUDA(cudaSetDevice(0)) throws what went wrong, with the call's name.
#pragma once

#include <cuda_runtime.h>

namespace needle::cuda {

// OutOfMemoryError where there is no memory, else a std::runtime_error, of which the bindings make a DeviceError. `call`
// is the call as it is written in the source. libraries/error.h has the same for the statuses of cuBLAS and cuDNN.
void check(cudaError_t status, const char* call);

#define NEEDLE_CUDA(...) ::needle::cuda::check((__VA_ARGS__), #__VA_ARGS__)

}  // namespace needle::cuda
