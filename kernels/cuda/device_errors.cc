#include "kernels/cuda/device_errors.h"

#include <map>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/error.h"

namespace needle::cuda {
namespace {

std::mutex mutex;

struct DeviceErrors {
  IndexError* error;           // its host address
  IndexError* seen_by_device;  // its device address
  unsigned* lock;
  int64_t calls = 0;

  explicit DeviceErrors(const Device& device) {
    NEEDLE_CUDA(cudaHostAlloc(reinterpret_cast<void**>(&error), sizeof *error, cudaHostAllocMapped));
    *error = IndexError{};
    NEEDLE_CUDA(cudaHostGetDevicePointer(reinterpret_cast<void**>(&seen_by_device), error, 0));
    NEEDLE_CUDA(cudaMalloc(reinterpret_cast<void**>(&lock), sizeof *lock));
    NEEDLE_CUDA(cudaMemsetAsync(lock, 0, sizeof *lock, device.stream));
  }
};

// The errors of the devices that have had a call with indices, by device index; never destroyed, like devices.
std::map<int, DeviceErrors>& all_errors() {
  static auto* errors = new std::map<int, DeviceErrors>;
  return *errors;
}

}  // namespace

IndexLimit index_limit(const char* op, const char* what, int64_t limit) {
  const std::lock_guard<std::mutex> guard(mutex);
  DeviceErrors& errors = all_errors().try_emplace(device().index, device()).first->second;
  return {limit, ++errors.calls, op, what, errors.seen_by_device, errors.lock};
}

void throw_index_error() {
  const std::lock_guard<std::mutex> guard(mutex);
  const auto errors = all_errors().find(device().index);
  if (errors == all_errors().end()) return;
  volatile IndexError& error = *errors->second.error;
  if (error.call == 0) return;
  NEEDLE_CUDA(cudaStreamSynchronize(device().stream));  // so that no kernel is still writing to it
  const IndexError met = *errors->second.error;
  error.call = 0;
  throw_shape_error(
      "%s: %s %ld at position %ld, expected 0 to %ld; the call was an earlier one, which the GPU did "
      "after it had returned (reading a result waits for it)",
      met.op, met.what, met.index, met.position, met.limit - 1);
}

}  // namespace needle::cuda
