#include "kernels/cuda/error.h"

#include <cstring>
#include <string>

#include "kernels/common/error.h"

namespace needle::cuda {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears the error, which the next check of the last error would otherwise report
  const std::string name(call, std::strcspn(call, "("));
  const std::string text = message(name, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  if (status == cudaErrorMemoryAllocation) throw OutOfMemoryError(text);
  throw std::runtime_error(text);
}

}  // namespace needle::cuda
