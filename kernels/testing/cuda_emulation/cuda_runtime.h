// The part of CUDA that kernels/cuda uses, emulated on the host. The same kernels, compiled by the host's compiler with
// this header instead of NVIDIA's, compute what they would compute on a GPU. docs/cuda.md, "Without a GPU", explains
// its purpose and limits.
//
// A block's threads take turns on one host thread; at a barrier or a shuffle, a thread waits for the others. Work on a
// stream runs as late as possible, when somebody waits for it, so that missing synchronization on the host is detected.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/testing/cuda_emulation/checks.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // one block runs at a time

// Vectors

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// The running thread's indices

// The access checker tells these variables from memory by their section.
#define NEEDLE_CUDA_REGISTERS __attribute__((section("cuda_registers")))
extern NEEDLE_CUDA_REGISTERS uint3 threadIdx, blockIdx;
extern NEEDLE_CUDA_REGISTERS dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// Cooperation of a block's threads

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffff);
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

namespace cuda_emulation {
// Waits for the lanes of `mask`, each of which contributes a value, and returns the value of `lane`.
uint64_t exchange(unsigned mask, uint64_t value, int lane);
int this_lane();
unsigned ballot(unsigned mask, bool value);

template <class T>
T exchange_value(unsigned mask, const T& value, int lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, lane);
  T result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
}  // namespace cuda_emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const int mine = cuda_emulation::this_lane();
  return cuda_emulation::exchange_value(mask, value, mine / width * width + lane % width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int mine = cuda_emulation::this_lane(), other = mine ^ bits;
  return cuda_emulation::exchange_value(mask, value, other / width == mine / width ? other : mine);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int distance, int width = 32) {
  const int mine = cuda_emulation::this_lane(), other = mine + distance;
  return cuda_emulation::exchange_value(mask, value, other / width == mine / width ? other : mine);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int distance, int width = 32) {
  const int mine = cuda_emulation::this_lane(), other = mine - distance;
  return cuda_emulation::exchange_value(mask, value, other >= mine / width * width ? other : mine);
}
inline unsigned __ballot_sync(unsigned mask, bool value) { return cuda_emulation::ballot(mask, value); }
inline bool __any_sync(unsigned mask, bool value) { return cuda_emulation::ballot(mask, value) != 0; }
inline bool __all_sync(unsigned mask, bool value) { return cuda_emulation::ballot(mask, !value) == 0; }
int __syncthreads_or(int value);

// No two threads run at once, so a plain read and write is atomic.
namespace cuda_emulation {
template <class T, class Change>
__attribute__((noinline, no_sanitize("thread"))) T exchange_memory(T* address, const Change& change) {
  checks::atomic_access(address, sizeof(T), __builtin_return_address(0));
  const T old = *address;
  *address = change(old);
  return old;
}
template <class T>
struct Same {
  using type = T;
};
template <class T>
using SameAs = typename Same<T>::type;  // excludes an argument from the deduction of T
}  // namespace cuda_emulation

template <class T>
T atomicAdd(T* address, cuda_emulation::SameAs<T> value) {
  return cuda_emulation::exchange_memory(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, cuda_emulation::SameAs<T> value) {
  return cuda_emulation::exchange_memory(address, [&](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* address, cuda_emulation::SameAs<T> value) {
  return cuda_emulation::exchange_memory(address, [&](T old) { return std::min(old, value); });
}
template <class T>
T atomicExch(T* address, cuda_emulation::SameAs<T> value) {
  cuda_emulation::checks::lock_given_back(address);
  return cuda_emulation::exchange_memory(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, cuda_emulation::SameAs<T> expected, cuda_emulation::SameAs<T> value) {
  const T old = cuda_emulation::exchange_memory(address, [&](T old) { return old == expected ? value : old; });
  if (old == expected && value != old) cuda_emulation::checks::lock_taken(address);
  return old;
}

// Arithmetic

using std::max;
using std::min;
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline void sincospi(double x, double* sine, double* cosine) {
  *sine = std::sin(M_PI * x);
  *cosine = std::cos(M_PI * x);
}
inline void sincospif(float x, float* sine, float* cosine) {
  *sine = static_cast<float>(std::sin(M_PI * static_cast<double>(x)));
  *cosine = static_cast<float>(std::cos(M_PI * static_cast<double>(x)));
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline int __float_as_int(float x) {
  int bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __int_as_float(int bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(static_cast<unsigned>(bits)) : 32; }
template <class T>
T __ldg(const T* address) {
  return *address;
}

#define CUDART_VERSION 13000
#define __CUDA_ARCH_LIST__ 900

// The runtime's functions. By default there are two devices of 4 GiB each; NEEDLE_EMULATED_DEVICES and
// NEEDLE_EMULATED_MIB change that.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
};
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize();

cudaError_t cudaMalloc(void** memory, size_t nbytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2 };
cudaError_t cudaHostAlloc(void** memory, size_t nbytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags);

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2 };
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t nbytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t nbytes, cudaStream_t stream);

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};
namespace cuda_emulation {
// A kernel and its arguments, as one piece of memory, and a function that runs it for the current thread.
struct Call {
  std::shared_ptr<const void> arguments;
  size_t nbytes;
  void (*run)(const void* arguments);
};

// Enqueues work on a stream.
cudaError_t submit(cudaStream_t stream, std::function<void()> work);
cudaError_t launch(const cudaLaunchConfig_t& config, const Call& call);
}  // namespace cuda_emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  using Values = std::tuple<void (*)(Parameters...), std::decay_t<Parameters>...>;
  return cuda_emulation::launch(*config, {std::make_shared<Values>(kernel, std::forward<Arguments>(arguments)...),
                                          sizeof(Values), [](const void* values) {
                                            const auto call = [](auto called, const auto&... with) { called(with...); };
                                            std::apply(call, *static_cast<const Values*>(values));
                                          }});
}
