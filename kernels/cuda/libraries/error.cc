#include "kernels/cuda/libraries/error.h"

#include <cstring>
#include <string>

#include "kernels/common/error.h"

namespace needle::cuda {
namespace {

// "cublasLtCreate" for "cublasLtCreate(&handle)"
std::string name_of(const char* call) { return {call, std::strcspn(call, "(")}; }

}  // namespace

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = message(name_of(call), ": ", cublasGetStatusName(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) throw OutOfMemoryError(text);
  throw std::runtime_error(text);
}

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[512] = "";
  cudnnGetLastErrorString(details, sizeof details);  // the text of this thread's last error
  const std::string text = message(name_of(call), ": ", cudnnGetErrorString(status), *details ? ", " : "", details);
  if (status == CUDNN_STATUS_ALLOC_FAILED || status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
    throw OutOfMemoryError(text);
  throw std::runtime_error(text);
}

}  // namespace needle::cuda
