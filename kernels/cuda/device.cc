#include "kernels/cuda/device.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <mutex>

#include "kernels/common/error.h"
#include "kernels/cuda/device_errors.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/transfer.h"

namespace needle::cuda {
namespace {

constexpr int kMaxDevices = 64;

class DeviceMemory : public MemorySource {
 public:
  // With trims_incoming, a failed allocation first releases the memory that uploads no longer use, and is retried.
  DeviceMemory(int device, bool trims_incoming) : device_(device), trims_incoming_(trims_incoming) {}

  std::byte* allocate(int64_t nbytes) override {
    NEEDLE_CUDA(cudaSetDevice(device_));
    void* block = nullptr;
    cudaError_t status = cudaMalloc(&block, nbytes);
    if (status == cudaErrorMemoryAllocation && trims_incoming_) {
      trim_incoming(device_);
      status = cudaMalloc(&block, nbytes);
    }
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // clears the error, so that a later call does not report it again
      return nullptr;
    }
    check(status, "cudaMalloc");
    return static_cast<std::byte*>(block);
  }

  void release(std::byte* block, int64_t) noexcept override { cudaFree(block); }

  int64_t capacity() const override {
    NEEDLE_CUDA(cudaSetDevice(device_));
    size_t free = 0, total = 0;
    NEEDLE_CUDA(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(total);
  }

 private:
  const int device_;
  const bool trims_incoming_;
};

const Device* make_device(int index) {
  NEEDLE_CUDA(cudaSetDevice(index));
  cudaDeviceProp properties;
  NEEDLE_CUDA(cudaGetDeviceProperties(&properties, index));
  cudaStream_t stream;
  NEEDLE_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return new Device{index,
                    properties.name,
                    properties.multiProcessorCount,
                    stream,
                    new MemoryPool(*new DeviceMemory(index, true)),
                    new MemoryPool(*new DeviceMemory(index, false))};
}

thread_local const Device* current = nullptr;

// "13.0" for 13000
std::string version_text(int version) { return message(version / 1000, ".", version % 1000 / 10); }

// Ten times the compute capability of the oldest GPU that this file, and so every kernel, is compiled for.
int oldest_architecture() {
  constexpr int compiled_for[] = {__CUDA_ARCH_LIST__};  // such as 800,900
  return *std::min_element(std::begin(compiled_for), std::end(compiled_for)) / 10;
}

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  NEEDLE_CUDA(cudaDeviceGetAttribute(&value, name, index));
  return value;
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return std::min(count, kMaxDevices);
  cudaGetLastError();
  return 0;
}

std::string reason_unavailable(int index) try {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return "there is no NVIDIA driver (libcuda.so.1 does not load)";
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver)
    return message("the NVIDIA driver supports CUDA ", version_text(driver), ", expected ",
                   version_text(CUDART_VERSION), " or later");
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) return "the NVIDIA driver shows no GPU";
  check(status, "cudaGetDeviceCount");
  if (index < 0 || index >= device_count())
    return message("the NVIDIA driver shows ", count, count == 1 ? " GPU" : " GPUs", ", counted from 0");
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, index);
  const int minor = attribute(cudaDevAttrComputeCapabilityMinor, index);
  if (const int oldest = oldest_architecture(); 10 * major + minor < oldest)
    return message("this build of Needle is for GPUs of compute capability ", oldest / 10, ".", oldest % 10,
                   " or higher, and this one has ", major, ".", minor);
  return "";
} catch (const std::runtime_error& error) {  // a CUDA call failed for another reason
  return error.what();
}

const Device& use_device(int index) {
  if (current && current->index == index) return *current;
  static std::array<const Device*, kMaxDevices> devices{};
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  if (index < 0 || index >= kMaxDevices || !devices[index]) {
    const std::string reason = reason_unavailable(index);
    if (!reason.empty()) throw std::runtime_error(reason);
    devices[index] = make_device(index);
  }
  NEEDLE_CUDA(cudaSetDevice(index));
  return *(current = devices[index]);
}

const Device& device() { return current ? *current : use_device(0); }

void synchronize() {
  NEEDLE_CUDA(cudaStreamSynchronize(device().stream));
  throw_index_error();
}

}  // namespace needle::cuda
