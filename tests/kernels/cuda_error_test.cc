// What a failed call of each library is turned into. Runs with and without a GPU.
#include "kernels/cuda/libraries/error.h"

#include <stdexcept>

#include "kernels/common/error.h"
#include "kernels/cuda/device.h"
#include "kernels/testing/check.h"

namespace needle::cuda {
namespace {

TEST(error_names_the_call) {
  EXPECT_THROW(std::runtime_error, "cudaMalloc: invalid argument (cudaErrorInvalidValue)",
               check(cudaErrorInvalidValue, "cudaMalloc(&data, nbytes)"));
  EXPECT_THROW(std::runtime_error, "cublasSgemm: CUBLAS_STATUS_INVALID_VALUE",
               check(CUBLAS_STATUS_INVALID_VALUE, "cublasSgemm(handle, m, n, k)"));
  EXPECT_THROW(std::runtime_error, "cudnnConvolutionForward: CUDNN_STATUS_NOT_SUPPORTED",
               check(CUDNN_STATUS_NOT_SUPPORTED, "cudnnConvolutionForward(handle)"));
}

TEST(out_of_memory_is_an_exception_of_its_own) {
  EXPECT_THROW(OutOfMemoryError, "cudaMalloc: out of memory", check(cudaErrorMemoryAllocation, "cudaMalloc"));
  EXPECT_THROW(OutOfMemoryError, "cublasCreate", check(CUBLAS_STATUS_ALLOC_FAILED, "cublasCreate(&handle)"));
  EXPECT_THROW(OutOfMemoryError, "cudnnCreate", check(CUDNN_STATUS_ALLOC_FAILED, "cudnnCreate(&handle)"));
  EXPECT_THROW(OutOfMemoryError, "cudnnCreate",
               check(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, "cudnnCreate(&handle)"));
}

TEST(calls_are_checked) {
  NEEDLE_CUDA(cudaSuccess);
  EXPECT_THROW(std::runtime_error, "cudaMemcpy: ", NEEDLE_CUDA(cudaMemcpy(nullptr, nullptr, 1, cudaMemcpyDefault)));
  EXPECT_THROW(std::runtime_error, "cublasCreate_v2: CUBLAS_STATUS_",
               NEEDLE_CUDA(cublasCreate_v2(static_cast<cublasHandle_t*>(nullptr))));
  EXPECT_THROW(std::runtime_error, "cudnnCreate: CUDNN_STATUS_", NEEDLE_CUDA(cudnnCreate(nullptr)));
}

TEST(an_error_is_reported_once) {
  EXPECT_THROW(std::runtime_error, "cudaFree: ", NEEDLE_CUDA(cudaFree(reinterpret_cast<void*>(8))));
  if (device_count() > 0) EXPECT_EQ(static_cast<int>(cudaGetLastError()), 0);  // that there is no driver stays an error
}

}  // namespace
}  // namespace needle::cuda
