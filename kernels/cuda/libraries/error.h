// Calls of cuBLAS and cuDNN are checked like those of the CUDA runtime: NEEDLE_CUDA(cublasLtCreate(&handle)).
#pragma once

#include <cublas_v2.h>
#include <cudnn.h>

#include "kernels/cuda/error.h"

namespace needle::cuda {

void check(cublasStatus_t status, const char* call);
void check(cudnnStatus_t status, const char* call);

}  // namespace needle::cuda
