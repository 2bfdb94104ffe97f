// A pool of memory: blocks that arrays gave back are kept for the next array of about that size, because the system hands
// out fresh memory slowly. That of the host comes page by page, zeroed, several times slower than a kernel writes it;
// that of a GPU makes the processor wait for all work that the GPU has been given.
//
// A request is rounded up to a size class: multiples of 64 bytes up to 1 KiB, then eight classes per power of two, so
// that less than an eighth is wasted. A block serves its class only.
//
// What is kept is bounded: taking a new block from the source first gives kept ones back, largest first, until
//   reserved <= 1.25 * (highest number of bytes ever in arrays) + 64 MiB.
// A training loop therefore runs without asking the source for anything, and needs little more than its own peak.
//
// With NEEDLE_MEMORY_POOL=off nothing is kept and nothing rounded up, so that tools which watch memory see each array's
// bounds and end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace needle {

// Bytes of a pool: in arrays now, the most there ever was, and held from the source (in arrays or kept for reuse).
struct MemoryStats {
  int64_t current, peak, reserved;
};

// Where a pool's blocks come from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual std::byte* allocate(int64_t nbytes) = 0;  // null where there is no memory left
  virtual void release(std::byte* block, int64_t nbytes) noexcept = 0;
  virtual int64_t capacity() const = 0;             // bytes that it could ever give
};

class MemoryPool {
 public:
  explicit MemoryPool(MemorySource& source);

  // A block of at least `nbytes`, not initialized. Throws OutOfMemoryError.
  std::byte* take(int64_t nbytes);
  // Takes back a block that `take(nbytes)` gave.
  void give(std::byte* block, int64_t nbytes) noexcept;
  // Gives every kept block back to the source.
  void trim();

  MemoryStats stats();
  void reset_peak();

  // For fork(): no other thread may be inside while a process is copied.
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
