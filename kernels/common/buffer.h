// Memory of a device that many arrays may view; 64-byte aligned, out of a pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/common/memory_pool.h"

namespace needle {

inline constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

// That of the host's memory.
MemoryPool& host_pool();

class Buffer {
 public:
  // Takes `nbytes`, not initialized. Throws OutOfMemoryError.
  explicit Buffer(int64_t nbytes, MemoryPool& pool = host_pool());
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
  MemoryPool* pool_ = nullptr;           // whose the memory is
  std::function<void()> release_;  // else what is called in the end
};

using BufferPtr = std::shared_ptr<Buffer>;

}  // namespace needle
