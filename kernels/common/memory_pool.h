// A memory pool: blocks that arrays release are kept for the next array of about that size, because fresh memory from
// the system is slow. Host memory arrives page by page, zeroed, several times slower than a kernel writes it;
// allocating GPU memory makes the CPU wait for all work queued on the GPU.
//
// A request is rounded up to a size class: multiples of 64 bytes up to 1 KiB, then eight classes per power of two, so
// that less than an eighth is wasted. A block is reused only within its class.
//
// The pool's size is bounded: before taking a new block from the source, it releases kept blocks, largest first, until
//   reserved <= 1.25 * (highest number of bytes ever in arrays) + 64 MiB.
// So after a while a training loop requests nothing from the source, and it needs little more memory than its own peak.
//
// With NEEDLE_MEMORY_POOL=off no block is kept and no size rounded up, so that memory checkers see each array's exact
// bounds and lifetime.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace needle {

// Byte counts of a pool: in arrays now, the peak of that, and held from the source (in arrays or kept for reuse).
struct MemoryStats {
  int64_t current, peak, reserved;
};

// Where a pool's blocks come from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual std::byte* allocate(int64_t nbytes) = 0;  // null if no memory is left
  virtual void release(std::byte* block, int64_t nbytes) noexcept = 0;
  virtual int64_t capacity() const = 0;  // the most bytes that it could ever provide
};

class MemoryPool {
 public:
  explicit MemoryPool(MemorySource& source);

  // Allocates an uninitialized block of at least `nbytes`. Throws OutOfMemoryError.
  std::byte* take(int64_t nbytes);
  // Returns a block that `take(nbytes)` allocated.
  void give(std::byte* block, int64_t nbytes) noexcept;
  // Releases every kept block to the source.
  void trim();

  MemoryStats stats();
  void reset_peak();

  // For fork(): no other thread may be inside the pool while the process is copied.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  struct Kept {
    int64_t nbytes = 0;  // of each block
    std::vector<std::byte*> blocks;
  };

  std::byte* new_block(int64_t requested, int64_t nbytes);
  void release_kept(int64_t reserved);
  [[noreturn]] void refuse(int64_t requested) const;

  static constexpr int kNumClasses = 16 + 8 * 36;

  std::mutex mutex_;
  MemorySource& source_;
  const int64_t capacity_;
  const bool keeps_blocks_;
  std::array<Kept, kNumClasses> kept_;
  MemoryStats stats_{0, 0, 0};
};

}  // namespace needle
