// Transfers between host and device. They go through pinned memory, which a GPU accesses directly.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "kernels/common/buffer.h"

namespace needle::cuda {

// Copies the `nbytes` at `from` on the host to a buffer on this thread's device. The host memory may change once this
// returns.
//
// The copy uses its own stream, so that the next step's batch transfers while this step's kernels run. Kernels enqueued
// from now on wait for it.
BufferPtr upload(const void* from, int64_t nbytes);

// Releases to the device the memory of uploads that no array uses any more, unless another thread is uploading right
// now.
void trim_incoming(int device);

// Waits for all work enqueued on the device, and copies. Throws errors that its kernels recorded: device_errors.h.
void copy_to_host(void* to, const void* from, int64_t nbytes);

// An asynchronous read of a few bytes: their values at `from` after the work enqueued on the device so far.
class PendingRead {
 public:
  PendingRead(const void* from, int64_t nbytes);
  ~PendingRead();
  PendingRead(const PendingRead&) = delete;

  // Whether the bytes have arrived. Does not wait.
  bool ready() const;
  // The bytes. Waits for them, and throws like copy_to_host.
  const std::byte* data() const;
  int64_t nbytes() const { return pinned_->nbytes(); }

 private:
  std::unique_ptr<Buffer> pinned_;
  cudaEvent_t event_;
};

}  // namespace needle::cuda
