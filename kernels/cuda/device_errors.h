// Invalid indices that a kernel finds in its operands. When a kernel runs, the call that started it has already
// returned. So the kernel records the error, and the host throws it the next time it waits for the device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace needle::cuda {

// The first invalid index that a device has found: the one at the lowest position of the first call that has any. It is
// in host memory, which the device can write.
struct IndexError {
  int64_t call;  // 0: no error
  int64_t index, position, limit;
  const char *op, *what;  // host pointers, which the device only passes on
};

// Checks a call's indices in its kernels: they must be 0 to limit - 1. Made by `index_limit`.
struct IndexLimit {
  int64_t limit, call;
  const char *op, *what;
  IndexError* error;
  unsigned* lock;  // 1 while a thread reads and perhaps writes the error

  __device__ bool contains(int64_t index) const { return index >= 0 && index < limit; }

  // Whether `index`, element number `position` of the indices, is valid. If not, records an error; the index must then
  // not be used.
  __device__ bool allows(int64_t index, int64_t position) const {
    if (contains(index)) return true;
    report(index, position);
    return false;
  }

 private:
  __device__ void report(int64_t index, int64_t position) const {
    for (bool done = false; !done;) {
      if (atomicCAS(lock, 0u, 1u) != 0) continue;
      __threadfence();
      volatile IndexError& met = *error;
      if (met.call == 0 || (met.call == call && position < met.position)) {
        met.index = index;
        met.position = position;
        met.limit = limit;
        met.op = op;
        met.what = what;
        __threadfence_system();
        met.call = call;
      }
      __threadfence_system();
      atomicExch(lock, 0u);
      done = true;
    }
  }
};

// For a call on this thread's device. The error message calls an index `what`; `op` and `what` must be literals.
IndexLimit index_limit(const char* op, const char* what, int64_t limit);

// Throws ShapeError, once, if this thread's device has found an invalid index. Call it after waiting for the device.
void throw_index_error();

}  // namespace needle::cuda
