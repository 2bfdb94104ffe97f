// That kernels which the host runs in place of a GPU are stopped at an access that is wrong there, and at no other:
// kernels/testing/cuda_emulation/checked.
#include <cuda_runtime.h>

#include <string>

#include "kernels/testing/check.h"
#include "kernels/testing/cuda_emulation/blocks.h"

namespace needle {
namespace {

constexpr int kCount = 256;

struct Numbers {
  int* data = nullptr;
  Numbers() {
    cudaMalloc(reinterpret_cast<void**>(&data), kCount * sizeof(int));
    cudaMemsetAsync(data, 0, kCount * sizeof(int), nullptr);
  }
  ~Numbers() { cudaFree(data); }
};

// Why the kernel failed, "" if it did not.
template <class... Parameters, class... Arguments>
std::string failure_of(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  cudaLaunchKernelEx(&config, kernel, arguments...);
  cudaError_t error = cudaDeviceSynchronize();
  const std::string text = error == cudaSuccess ? "" : cudaGetErrorString(error);
  cuda_emulation::forget_failure();
  cudaGetLastError();
  return text;
}

#define EXPECT_FAILURE(part, ...)                                                                     \
  do {                                                                                                \
    const std::string met = failure_of(__VA_ARGS__);                                                  \
    if (met.find(part) == std::string::npos || met.find("cuda_checks_test.cc:") == std::string::npos) \
      EXPECT_EQ(met, std::string(part) + ", and where");                                              \
  } while (false)

enum class Between { nothing, block_barrier, warp_barrier, shuffle };

// Each thread reads what the thread `distance` before it has written.
__global__ void hand_on(int* out, int distance, Between between) {
  __shared__ int shared[kCount];
  const int thread = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  shared[thread] = thread;
  if (between == Between::block_barrier) __syncthreads();
  if (between == Between::warp_barrier) __syncwarp();
  if (between == Between::shuffle) (void)__shfl_xor_sync(0xffffffff, thread, 1);
  out[thread] = shared[(thread + count - distance) % count];
}

TEST(a_barrier_stands_between_write_and_read) {
  Numbers out;
  EXPECT_FAILURE("in shared memory: ", hand_on, 1, 64, out.data, 1, Between::nothing);
  EXPECT_EQ(failure_of(hand_on, 1, 64, out.data, 0, Between::nothing), "");
  EXPECT_EQ(failure_of(hand_on, 1, 64, out.data, 1, Between::block_barrier), "");
}

TEST(a_warp_meets_for_itself) {
  Numbers out;
  EXPECT_EQ(failure_of(hand_on, 1, 32, out.data, 1, Between::warp_barrier), "");
  EXPECT_FAILURE("no barrier orders it after the", hand_on, 1, 64, out.data, 1, Between::warp_barrier);
  EXPECT_FAILURE("no barrier orders it after the", hand_on, 1, 32, out.data, 1, Between::shuffle);
}

// Half of a warp meets: what the other half does is not ordered.
__global__ void meet_half(int* out, int first) {
  __shared__ int shared[32];
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = thread;
  if (thread < 16) {
    __syncwarp(0xffff);
    out[thread] = shared[first + (thread + 5) % 16];
  }
}

TEST(only_lanes_that_meet_are_ordered) {
  Numbers out;
  EXPECT_EQ(failure_of(meet_half, 1, 32, out.data, 0), "");
  EXPECT_FAILURE("no barrier orders it after the", meet_half, 1, 32, out.data, 16);
}

__global__ void read_first(int* out, bool writes) {
  __shared__ int shared[32];
  if (writes) shared[threadIdx.x] = 1;
  out[threadIdx.x] += shared[threadIdx.x];
}

TEST(shared_memory_is_written_before_it_is_read) {
  Numbers out;
  EXPECT_EQ(failure_of(read_first, 1, 32, out.data, true), "");
  EXPECT_FAILURE("in shared memory: the block has written nothing there", read_first, 1, 32, out.data, false);
}

// A tile that is used again in each round.
__global__ void use_again(int* out, bool waits) {
  __shared__ int tile[64];
  const int thread = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    tile[thread] = round;
    __syncthreads();
    sum += tile[63 - thread];
    if (waits) __syncthreads();
  }
  out[thread] = sum;
}

TEST(a_barrier_stands_between_read_and_the_next_write) {
  Numbers out;
  EXPECT_FAILURE("no barrier orders it after the", use_again, 1, 64, out.data, false);
  EXPECT_EQ(failure_of(use_again, 1, 64, out.data, true), "");
}

// Thread 2 reads after threads of both warps, and thread 1 writes when its own warp has met.
__global__ void read_three_times(int* out, bool other_warp_reads) {
  __shared__ int shared[1];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) shared[0] = 1;
  __syncthreads();
  if (thread == 0 || (thread == 32 && other_warp_reads)) out[thread] = shared[0];
  if (thread >= 32) return;
  (void)__shfl_xor_sync(0xffffffff, thread, 1);
  if (thread == 2) out[thread] = shared[0];
  __syncwarp();
  if (thread == 1) shared[0] = 2;
}

TEST(no_read_is_forgotten) {
  Numbers out;
  for (int order = 0; order < 2; ++order) {
    EXPECT_FAILURE("after the read by thread 32 of block 0", read_three_times, 1, 64, out.data, true);
    EXPECT_EQ(failure_of(read_three_times, 1, 64, out.data, false), "");
    EXPECT_EQ(failure_of(hand_on, 1, 64, out.data, 0, Between::nothing), "");  // next, threads take turns the other way
  }
}

enum class How { write, add, add_and_read };

__global__ void count_blocks(int* out, How how) {
  if (threadIdx.x != 0) return;
  if (how == How::write) out[0] = 1;
  if (how != How::write) atomicAdd(out, 1);
  if (how == How::add_and_read) out[blockIdx.x + 1] = out[0];
}

TEST(blocks_share_nothing_but_what_is_atomic) {
  Numbers out;
  EXPECT_FAILURE("it after the write by thread 0 of block 0", count_blocks, 2, 32, out.data, How::write);
  EXPECT_EQ(failure_of(count_blocks, 5, 32, out.data, How::add), "");
  EXPECT_FAILURE("no barrier orders it after the", count_blocks, 2, 32, out.data, How::add_and_read);
}

__global__ void with_lock(int* out, unsigned* lock) {
  while (atomicCAS(lock, 0u, 1u) != 0) continue;
  out[0] += 1;
  atomicExch(lock, 0u);
}

TEST(a_lock_orders) {
  Numbers out, lock;
  EXPECT_EQ(failure_of(with_lock, 4, 64, out.data, reinterpret_cast<unsigned*>(lock.data)), "");
}

__global__ void fill(int* out, int first) { out[first + static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x)] = 1; }

TEST(an_access_lies_in_memory_of_the_device) {
  Numbers out;
  int on_the_host = 0;
  EXPECT_EQ(failure_of(fill, kCount / 64, 64, out.data, 0), "");
  EXPECT_EQ(failure_of(fill, kCount / 64, 64, out.data, 0), "");  // one kernel comes after the other
  EXPECT_FAILURE("no kernel can reach", fill, kCount / 64, 64, out.data, 1);
  EXPECT_FAILURE("no kernel can reach", fill, 1, 1, out.data, -1);
  EXPECT_FAILURE("no kernel can reach", fill, 1, 1, &on_the_host, 0);
}

__global__ void copy_four(int* out, int first) {
  *reinterpret_cast<int4*>(out + 8) = *reinterpret_cast<const int4*>(out + first);
}

TEST(a_vector_is_aligned) {
  Numbers out;
  EXPECT_EQ(failure_of(copy_four, 1, 1, out.data, 4), "");
  EXPECT_FAILURE("an address that its type may not have", copy_four, 1, 1, out.data, 2);
}

__global__ void index_shared(int* out, int index) {
  __shared__ int before[16], after[16];
  before[index] = 1;
  after[15 - index] = 1;
  __syncthreads();
  out[0] = before[index] + after[15 - index];
}

TEST(an_index_is_in_its_array) {
  Numbers out;
  EXPECT_EQ(failure_of(index_shared, 1, 1, out.data, 15), "");
  EXPECT_FAILURE("an index that is not in the array: 16", index_shared, 1, 1, out.data, 16);
}

__global__ void multiply(int* out, int factor) { out[0] = factor * 65536; }

TEST(an_int_does_not_overflow) {
  Numbers out;
  EXPECT_EQ(failure_of(multiply, 1, 1, out.data, 32767), "");
  EXPECT_FAILURE("a product overflows", multiply, 1, 1, out.data, 32768);
}

__global__ void part_ways() {
  if (threadIdx.x == 0)
    __syncthreads();
  else
    __syncwarp();
}

TEST(threads_do_not_wait_for_ever) {
  EXPECT_EQ(failure_of(part_ways, 1, 32), "threads wait at different barriers, for ever");
}

}  // namespace
}  // namespace needle
