// The threads of a block, the streams and the memory behind cuda_runtime.h.
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/testing/cuda_emulation/cuda_runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

// A block: each thread has a stack of its own from its first wait on.

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  unsigned thread;  // its number in the block
};

struct Thread {
  State state;
  Fiber* fiber;
  unsigned mask;       // of the lanes that it waits for
  int flag;            // what it brings to __syncthreads_or
  unsigned exchanges;  // how many it has done: two rounds of values are kept in turn
};

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned kMaxThreads = 1024;

ucontext_t scheduler;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
Thread threads[kMaxThreads];
uint64_t exchanged[kMaxThreads][2];
int block_flag;
unsigned running, num_threads;
const std::function<void()>* body;

[[noreturn]] void fail(const char* text) {
  std::fprintf(stderr, "CUDA emulation: %s (block %u, %u, %u of %u threads)\n", text, blockIdx.x, blockIdx.y, blockIdx.z,
               num_threads);
  std::abort();
}

void run_fiber(unsigned index) {
  Fiber& fiber = *fibers[index];
  for (;;) {
    (*body)();
    threads[fiber.thread].state = State::done;
    swapcontext(&fiber.context, &scheduler);
  }
}

Fiber* idle_fiber() {
  if (idle.empty()) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack = std::make_unique<char[]>(kStackBytes);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.get();
    fiber->context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber->context, reinterpret_cast<void (*)()>(run_fiber), 1, static_cast<unsigned>(fibers.size()));
    idle.push_back(fiber.get());
    fibers.push_back(std::move(fiber));
  }
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

// Runs a thread until it waits or is done.
void resume(unsigned number) {
  Thread& thread = threads[number];
  if (!thread.fiber) {
    thread.fiber = idle_fiber();
    thread.fiber->thread = number;
  }
  thread.state = State::ready;
  running = number;
  threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
  swapcontext(&scheduler, &thread.fiber->context);
  if (thread.state == State::done) {
    idle.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
}

void wait(State state) {
  Thread& thread = threads[running];
  thread.state = state;
  swapcontext(&thread.fiber->context, &scheduler);
}

// Whether all lanes that this one waits for have come; those that are done are not waited for.
bool warp_has_come(unsigned number) {
  const unsigned first = number / 32 * 32;
  for (unsigned lane = 0; lane < 32 && first + lane < num_threads; ++lane) {
    const State state = threads[first + lane].state;
    if (threads[number].mask >> lane & 1 && state != State::at_warp_barrier && state != State::done) return false;
  }
  return true;
}

void run_block(bool backwards) {
  num_threads = blockDim.x * blockDim.y * blockDim.z;
  unsigned alive = 0;
  for (unsigned i = 0; i < num_threads; ++i) threads[i] = {State::ready, nullptr, 0, 0, 0};
  for (unsigned i = 0; i < num_threads; ++i) {
    const unsigned number = backwards ? num_threads - 1 - i : i;
    resume(number);
    alive += threads[number].state != State::done;
  }
  while (alive > 0) {
    std::vector<unsigned> go_on;
    bool block_has_come = true;
    for (unsigned i = 0; i < num_threads; ++i)
      block_has_come &= threads[i].state == State::at_block_barrier || threads[i].state == State::done;
    if (block_has_come) {
      block_flag = 0;
      for (unsigned i = 0; i < num_threads; ++i)
        if (threads[i].state == State::at_block_barrier) block_flag |= threads[i].flag;
    }
    for (unsigned i = 0; i < num_threads; ++i) {
      const unsigned number = backwards ? num_threads - 1 - i : i;
      const State state = threads[number].state;
      if ((state == State::at_block_barrier && block_has_come) ||
          (state == State::at_warp_barrier && warp_has_come(number)))
        go_on.push_back(number);
    }
    if (go_on.empty()) fail("threads wait at different barriers, for ever");
    for (unsigned number : go_on) {
      resume(number);
      alive -= threads[number].state == State::done;
    }
  }
}

void run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  static bool backwards = false;
  backwards = !backwards;  // so that a kernel which needs a certain order fails on every second launch
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  body = &thread;
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        run_block(backwards);
      }
}

}  // namespace

int this_lane() { return static_cast<int>(running % 32); }

uint64_t exchange(unsigned mask, uint64_t value, int lane) {
  const unsigned number = running, source = number / 32 * 32 + static_cast<unsigned>(lane);
  const unsigned round = threads[number].exchanges++ % 2;
  exchanged[number][round] = value;
  threads[number].mask = mask;
  wait(State::at_warp_barrier);
  return exchanged[source][round];
}

unsigned ballot(unsigned mask, bool value) {
  unsigned bits = 0;
  const unsigned first = running / 32 * 32;
  const unsigned round = threads[running].exchanges++ % 2;
  exchanged[running][round] = value;
  threads[running].mask = mask;
  wait(State::at_warp_barrier);
  for (unsigned lane = 0; lane < 32 && first + lane < num_threads; ++lane)
    if (mask >> lane & 1) bits |= static_cast<unsigned>(exchanged[first + lane][round]) << lane;
  return bits;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

void __syncthreads() { __syncthreads_or(0); }

int __syncthreads_or(int value) {
  threads[running].flag = value;
  wait(State::at_block_barrier);
  return block_flag;
}

void __syncwarp(unsigned mask) {
  threads[running].mask = mask;
  wait(State::at_warp_barrier);
}

// Streams: work in the order in which it was given, done when somebody waits for it.

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
constexpr size_t kMostWork = 256;  // what a stream holds before it begins by itself

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

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
  next();
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
  return cudaSuccess;
}

cudaError_t cuda_emulation::launch(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  const dim3& block = config.blockDim;
  const dim3& grid = config.gridDim;
  const bool valid = block.x && block.y && block.z && grid.x && grid.y && grid.z && grid.x <= 0x7fffffffu &&
                     grid.y <= 65535 && grid.z <= 65535 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
                     block.x * block.y * block.z <= kMaxThreads && config.dynamicSmemBytes == 0;
  if (!valid) return report(cudaErrorInvalidConfiguration);
  return submit(config.stream, [config, thread = std::move(thread)] { run_grid(config, thread); });
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
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(mutex);
  for (CUstream_st* stream : all_streams()) finish(*stream);
  return cudaSuccess;
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
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(mutex);
  if (event->done || event->stream == &resolve(stream)) return cudaSuccess;
  CUstream_st* other = event->stream;
  const auto reached = std::make_shared<bool>(false);  // the event may be recorded again before this stream comes to it
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
  std::memset(*memory, 0xab, nbytes);  // nothing may rely on zeros
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
  *memory = std::aligned_alloc(256, (nbytes + 255) / 256 * 256);
  return *memory ? cudaSuccess : report(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  cudaDeviceSynchronize();
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
  if (cudaGetDeviceCount(&count) != cudaSuccess || device < 0 || device >= count)
    return report(cudaErrorInvalidDevice);
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
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
