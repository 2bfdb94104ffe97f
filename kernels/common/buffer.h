// Device memory that several arrays may share: 64-byte aligned, and allocated from a pool or owned by somebody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/common/memory_pool.h"

namespace needle {

inline constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

// The pool of host memory.
MemoryPool& host_pool();

class Buffer {
 public:
  // Allocates `nbytes` uninitialized bytes. Throws OutOfMemoryError.
  explicit Buffer(int64_t nbytes, MemoryPool& pool = host_pool());
  // Wraps memory that somebody else owns; the destructor calls `release`.
  Buffer(void* data, int64_t nbytes, std::function<void()> release);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  int64_t nbytes() const { return nbytes_; }

 private:
  std::byte* data_;
  int64_t nbytes_;
  MemoryPool* pool_ = nullptr;     // the pool that the memory came from, or null
  std::function<void()> release_;  // called by the destructor if pool_ is null
};

using BufferPtr = std::shared_ptr<Buffer>;

}  // namespace needle
