// Memory of a device that many arrays may view. Host buffers are 64-byte aligned and come from a pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace needle {

inline constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

class Buffer {
 public:
  // Takes `nbytes` from the pool, not initialized. Throws OutOfMemoryError.
  explicit Buffer(int64_t nbytes);
  // Views memory that somebody else owns; `release` is called when the last array is gone.
  Buffer(void* data, int64_t nbytes, std::function<void()> release);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  int64_t nbytes() const { return nbytes_; }

 private:
  std::byte* data_;
  int64_t nbytes_;
  std::function<void()> release_;  // empty where the memory is the pool's
};

using BufferPtr = std::shared_ptr<Buffer>;

// Bytes of the host pool: in arrays now, the most there ever was, and held from the system (in arrays or kept for reuse).
struct MemoryStats {
  int64_t current, peak, reserved;
};
MemoryStats memory_stats();
void reset_peak_memory();

// Gives every kept block back to the system.
void trim_memory();

}  // namespace needle
