// Bytes from the host to a device and back. They go through pinned memory, which a GPU reads and writes by itself.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "kernels/common/buffer.h"

namespace needle::cuda {

// A buffer on this thread's device with the `nbytes` at `from` on the host, which may change when this returns.
//
// The copy has a stream of its own, so the batch of the next step moves while kernels of this one run; kernels given to
// the device from now on wait for it.
BufferPtr upload(const void* from, int64_t nbytes);

// Gives the device the memory of uploads back that no array has any more, unless another thread is uploading just now.
void trim_incoming(int device);

// Waits for what was given to the device, and copies. Throws what the device met on the way: device_errors.h.
void copy_to_host(void* to, const void* from, int64_t nbytes);

// A few bytes on their way to the host: those that lie at `from` when the work given to the device so far is done.
class PendingRead {
 public:
  PendingRead(const void* from, int64_t nbytes);
  ~PendingRead();
  PendingRead(const PendingRead&) = delete;

  // Whether they have come. Does not wait.
  bool ready() const;
  // They themselves. Waits for them, and throws as copy_to_host does.
  const std::byte* data() const;
  int64_t nbytes() const { return pinned_->nbytes(); }

 private:
  std::unique_ptr<Buffer> pinned_;
  cudaEvent_t event_;
};

}  // namespace needle::cuda
