// The streams, events and memory behind cuda_runtime.h.
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/testing/cuda_emulation/blocks.h"
#include "kernels/testing/cuda_emulation/checks.h"

using namespace cuda_emulation;

// Streams: work in submission order, executed when somebody waits for it.

struct CUstream_st {
  std::deque<std::function<void()>> work;
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  bool done = true;
};

namespace {

std::recursive_mutex mutex;
using Lock = std::lock_guard<std::recursive_mutex>;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
constexpr size_t kMostWork = 256;  // how much work a stream holds before it starts executing by itself

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// The status of the executed work: whether any kernel has failed.
cudaError_t status() { return report(last_failure().empty() ? cudaSuccess : cudaErrorLaunchFailure); }

CUstream_st& resolve(cudaStream_t stream) {
  static CUstream_st default_stream;
  return stream ? *stream : default_stream;
}

std::vector<CUstream_st*>& all_streams() {
  static auto* streams = new std::vector<CUstream_st*>{&resolve(nullptr)};
  return *streams;
}

void do_next(CUstream_st& stream) {
  const auto next = std::move(stream.work.front());
  stream.work.pop_front();
  if (last_failure().empty()) next();
}

void finish(CUstream_st& stream) {
  while (!stream.work.empty()) do_next(stream);
}

void finish(const CUevent_st& event) {
  while (!event.done) do_next(*event.stream);
}

int read_setting(const char* variable, int otherwise) {
  const char* value = std::getenv(variable);
  return value && *value ? std::atoi(value) : otherwise;
}

}  // namespace

cudaError_t cuda_emulation::submit(cudaStream_t stream, std::function<void()> work) {
  const Lock lock(mutex);
  CUstream_st& queue = resolve(stream);
  queue.work.push_back(std::move(work));
  if (queue.work.size() > kMostWork) do_next(queue);
  return status();
}

cudaError_t cuda_emulation::launch(const cudaLaunchConfig_t& config, const Call& call) {
  const dim3 block = config.blockDim, grid = config.gridDim;
  const bool valid = block.x && block.y && block.z && grid.x && grid.y && grid.z && grid.x <= 0x7fffffffu &&
                     grid.y <= 65535 && grid.z <= 65535 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
                     block.x * block.y * block.z <= kMaxThreads && config.dynamicSmemBytes == 0;
  if (!valid) return report(cudaErrorInvalidConfiguration);
  return submit(config.stream, [grid, block, call] { run_grid(grid, block, call); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex);
  *stream = new CUstream_st;
  all_streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex);
  finish(resolve(stream));
  return status();
}

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(mutex);
  for (CUstream_st* stream : all_streams()) finish(*stream);
  return status();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(mutex);
  finish(*event);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex);
  finish(*event);
  event->stream = &resolve(stream);
  event->done = false;
  return cuda_emulation::submit(stream, [event] { event->done = true; });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(mutex);
  return event->done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex);
  finish(*event);
  return status();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(mutex);
  if (event->done || event->stream == &resolve(stream)) return cudaSuccess;
  CUstream_st* other = event->stream;
  const auto reached = std::make_shared<bool>(false);  // the event may be recorded again before this stream reaches it
  other->work.push_back([reached] { *reached = true; });
  return cuda_emulation::submit(stream, [other, reached] {
    while (!*reached) do_next(*other);
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t nbytes, cudaMemcpyKind, cudaStream_t stream) {
  return cuda_emulation::submit(stream, [=] { std::memcpy(to, from, nbytes); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t nbytes, cudaStream_t stream) {
  return cuda_emulation::submit(stream, [=] { std::memset(memory, value, nbytes); });
}

// Devices and their memory

namespace {

std::unordered_map<void*, std::pair<int, size_t>> blocks;  // the device and size of each
std::map<int, size_t> used;

size_t capacity() { return static_cast<size_t>(read_setting("NEEDLE_EMULATED_MIB", 4096)) << 20; }

}  // namespace

cudaError_t cudaMalloc(void** memory, size_t nbytes) {
  const Lock lock(mutex);
  cudaDeviceSynchronize();
  if (used[current_device] + nbytes > capacity()) return report(cudaErrorMemoryAllocation);
  *memory = std::aligned_alloc(256, (nbytes + 255) / 256 * 256);
  if (!*memory) return report(cudaErrorMemoryAllocation);
  std::memset(*memory, 0xff, nbytes);  // NaN in every floating dtype, so that nothing relies on zeros
  checks::memory_begins(*memory, nbytes);
  blocks[*memory] = {current_device, nbytes};
  used[current_device] += nbytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const Lock lock(mutex);
  if (!memory) return cudaSuccess;
  cudaDeviceSynchronize();
  const auto block = blocks.find(memory);
  if (block == blocks.end()) return report(cudaErrorInvalidValue);
  used[block->second.first] -= block->second.second;
  blocks.erase(block);
  checks::memory_ends(memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(mutex);
  *total = capacity();
  *free = *total - used[current_device];
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t nbytes, unsigned) {
  const Lock lock(mutex);
  *memory = std::aligned_alloc(256, (nbytes + 255) / 256 * 256);
  if (!*memory) return report(cudaErrorMemoryAllocation);
  checks::memory_begins(*memory, nbytes);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(mutex);
  cudaDeviceSynchronize();
  if (memory) checks::memory_ends(memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = read_setting("NEEDLE_EMULATED_DEVICES", 2);
  return *count > 0 ? cudaSuccess : report(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || device < 0 || device >= count) return report(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated on the host", capacity(), 9, 0, 4};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 4; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
  }
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? last_failure().c_str() : cudaGetErrorName(error);
}
