// Wrong indices that a kernel meets in its operands. When a kernel runs, the call that started it has returned: so the
// kernel writes down what it met, and the host throws it where it next waits for the device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace needle::cuda {

// The first wrong index that a device has met: of the first call with any, the one at the lowest position. It lies in
// the host's memory, where the device writes to it.
struct IndexError {
  int64_t call;  // 0: none was met
  int64_t index, position, limit;
  const char *op, *what;  // of the host, which the device only hands on
};

// What a call allows its indices to be, 0 to limit - 1, for its kernels: made by `index_limit`.
struct IndexLimit {
  int64_t limit, call;
  const char *op, *what;
  IndexError* error;
  unsigned* lock;  // 1 while a thread looks at the error and perhaps writes it

  __device__ bool contains(int64_t index) const { return index >= 0 && index < limit; }

  // Whether `index`, which is element number `position` of the indices, is right; else it is reported, and must not be
  // used.
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

// For a call on this thread's device. An error will call an index `what`; `op` and `what` are literals.
IndexLimit index_limit(const char* op, const char* what, int64_t limit);

// Throws ShapeError if this thread's device has met a wrong index, once. To be called after waiting for the device.
void throw_index_error();

}  // namespace needle::cuda
