#include "kernels/cuda/transfer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/common/error.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_errors.h"
#include "kernels/cuda/error.h"

namespace needle::cuda {
namespace {

constexpr int64_t kPiece = int64_t{16} << 20;  // larger copies are cut, so that one piece transfers while another fills

class PinnedMemory : public MemorySource {
 public:
  std::byte* allocate(int64_t nbytes) override {
    void* block = nullptr;
    const cudaError_t status = cudaHostAlloc(&block, nbytes, cudaHostAllocPortable);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(status, "cudaHostAlloc");
    return static_cast<std::byte*>(block);
  }
  void release(std::byte* block, int64_t) noexcept override { cudaFreeHost(block); }
  int64_t capacity() const override { return int64_t{1} << 40; }
};

// A piece of pinned memory that a copy reads until its event completes.
struct InFlight {
  std::unique_ptr<Buffer> memory;
  cudaEvent_t event;
};

class Staging {
 public:
  static Staging& instance() {
    static auto* staging = new Staging;
    return *staging;
  }

  std::unique_ptr<Buffer> take(int64_t nbytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_finished();
    return std::make_unique<Buffer>(nbytes, pool_);
  }

  // Keeps `memory` until the work enqueued on the stream is done.
  void keep(std::unique_ptr<Buffer> memory, cudaStream_t stream) {
    cudaEvent_t event;
    NEEDLE_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    NEEDLE_CUDA(cudaEventRecord(event, stream));
    const std::lock_guard<std::mutex> lock(mutex_);
    in_flight_.push_back({std::move(memory), event});
  }

 private:
  void release_finished() {
    const auto unfinished = std::remove_if(in_flight_.begin(), in_flight_.end(), [](InFlight& one) {
      if (cudaEventQuery(one.event) != cudaSuccess) return false;
      cudaEventDestroy(one.event);
      one.memory.reset();
      return true;
    });
    in_flight_.erase(unfinished, in_flight_.end());
    cudaGetLastError();  // "not ready" is no error
  }

  std::mutex mutex_;
  PinnedMemory source_;
  MemoryPool pool_{source_};
  std::vector<InFlight> in_flight_;
};

// The memory that one device's uploads are copied to. It does not come from the pool for kernel outputs: that pool may
// hand out blocks that enqueued kernels have yet to read or write, and the copy does not wait for their stream. Here a
// block is reused only after an event shows that kernels are done with it.
class Incoming {
 public:
  static Incoming& of(const Device& device) {
    const std::lock_guard<std::mutex> lock(all_mutex());
    auto& incoming = all()[device.index];
    if (!incoming) incoming = new Incoming(device);
    return *incoming;
  }

  // The instance of a device, or null if nothing has been uploaded to it yet.
  static Incoming* find(int device) {
    const std::lock_guard<std::mutex> lock(all_mutex());
    const auto found = all().find(device);
    return found == all().end() ? nullptr : found->second;
  }

  BufferPtr upload(const std::byte* from, int64_t nbytes) {
    std::byte* block = take(nbytes);
    cudaEvent_t event;
    NEEDLE_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    const BufferPtr buffer = std::make_shared<Buffer>(block, nbytes, [=] { release({block, nbytes, event}); });
    for (int64_t done = 0; done < nbytes; done += kPiece) {
      const int64_t piece = std::min(kPiece, nbytes - done);
      auto pinned = Staging::instance().take(piece);
      std::memcpy(pinned->data(), from + done, piece);
      NEEDLE_CUDA(cudaMemcpyAsync(block + done, pinned->data(), piece, cudaMemcpyHostToDevice, stream_));
      Staging::instance().keep(std::move(pinned), stream_);
    }
    NEEDLE_CUDA(cudaEventRecord(event, stream_));
    NEEDLE_CUDA(cudaStreamWaitEvent(device_.stream, event, 0));
    return buffer;
  }

  // Only tries to lock, because the caller may hold the lock of device_.pool, which a thread in `take` may wait for
  // while it holds this mutex.
  void trim() {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return;
    cudaStreamSynchronize(device_.stream);
    give_finished();
    device_.incoming->trim();
  }

 private:
  struct Released {
    std::byte* block;
    int64_t nbytes;
    cudaEvent_t event;
  };

  explicit Incoming(const Device& device) : device_(device) {
    NEEDLE_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }

  static std::mutex& all_mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
  }
  static std::map<int, Incoming*>& all() {
    static auto* incoming = new std::map<int, Incoming*>;  // never destroyed, like devices
    return *incoming;
  }

  void give_finished() {
    const auto unfinished = std::remove_if(released_.begin(), released_.end(), [&](const Released& one) {
      if (cudaEventQuery(one.event) != cudaSuccess) return false;
      cudaEventDestroy(one.event);
      device_.incoming->give(one.block, one.nbytes);
      return true;
    });
    released_.erase(unfinished, released_.end());
    cudaGetLastError();  // "not ready" is no error
  }

  std::byte* take(int64_t nbytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    give_finished();
    try {
      return device_.incoming->take(nbytes);
    } catch (const OutOfMemoryError&) {
      cudaStreamSynchronize(device_.stream);
      give_finished();
      device_.pool->trim();
      return device_.incoming->take(nbytes);
    }
  }

  // No array uses the block any more, but enqueued kernels may.
  void release(const Released& one) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    cudaEventRecord(one.event, device_.stream);
    released_.push_back(one);
  }

  const Device& device_;
  cudaStream_t stream_;
  std::mutex mutex_;
  std::vector<Released> released_;
};

}  // namespace

BufferPtr upload(const void* from, int64_t nbytes) {
  return Incoming::of(device()).upload(static_cast<const std::byte*>(from), nbytes);
}

void trim_incoming(int device) {
  if (Incoming* incoming = Incoming::find(device)) incoming->trim();
}

void copy_to_host(void* to, const void* from, int64_t nbytes) {
  const cudaStream_t stream = device().stream;
  for (int64_t done = 0; done < nbytes; done += kPiece) {
    const int64_t piece = std::min(kPiece, nbytes - done);
    const auto pinned = Staging::instance().take(piece);
    NEEDLE_CUDA(cudaMemcpyAsync(pinned->data(), static_cast<const std::byte*>(from) + done, piece,
                                cudaMemcpyDeviceToHost, stream));
    NEEDLE_CUDA(cudaStreamSynchronize(stream));
    std::memcpy(static_cast<std::byte*>(to) + done, pinned->data(), piece);
  }
  throw_index_error();
}

PendingRead::PendingRead(const void* from, int64_t nbytes) : pinned_(Staging::instance().take(nbytes)) {
  const cudaStream_t stream = device().stream;
  NEEDLE_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  NEEDLE_CUDA(cudaMemcpyAsync(pinned_->data(), from, nbytes, cudaMemcpyDeviceToHost, stream));
  NEEDLE_CUDA(cudaEventRecord(event_, stream));
}

PendingRead::~PendingRead() {
  cudaEventSynchronize(event_);  // the memory must not be released before the copy is done
  cudaEventDestroy(event_);
}

bool PendingRead::ready() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) return false;
  check(status, "cudaEventQuery");
  return true;
}

const std::byte* PendingRead::data() const {
  NEEDLE_CUDA(cudaEventSynchronize(event_));
  throw_index_error();
  return pinned_->data();
}

}  // namespace needle::cuda
