// Every CUDA runtime call is checked: NEEDLE_CUDA(cudaSetDevice(0)) throws an error that names the call and the cause.
#pragma once

#include <cuda_runtime.h>

namespace needle::cuda {

// Throws OutOfMemoryError if memory ran out, and std::runtime_error for other errors, which the bindings translate to
// DeviceError. `call` is the source text of the call. libraries/error.h has the same for statuses of cuBLAS and cuDNN.
void check(cudaError_t status, const char* call);

#define NEEDLE_CUDA(...) ::needle::cuda::check((__VA_ARGS__), #__VA_ARGS__)

}  // namespace needle::cuda
