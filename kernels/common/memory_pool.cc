#include "kernels/common/memory_pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string_view>

#include "kernels/common/error.h"

namespace needle {
namespace {

constexpr int64_t kGranule = 64;
constexpr int64_t kSmall = 1024;  // up to this size every multiple of kGranule is a class
constexpr int64_t kLargest = int64_t{1} << 46;
constexpr int64_t kSlack = int64_t{64} << 20;

// Whether the pool keeps blocks: set by NEEDLE_MEMORY_POOL, "on" or "off"; by default on except under AddressSanitizer.
bool keeps_blocks() {
  const char* wanted = std::getenv("NEEDLE_MEMORY_POOL");
  const std::string_view setting = wanted ? wanted : "";
  if (setting == "on" || setting == "off") return setting == "on";
  if (!setting.empty()) throw std::runtime_error(message("NEEDLE_MEMORY_POOL: '", setting, "', expected on or off"));
#ifdef __SANITIZE_ADDRESS__
  return false;
#else
  return true;
#endif
}

struct SizeClass {
  int index;
  int64_t nbytes;
};

// For 0 < nbytes <= kLargest.
SizeClass size_class(int64_t nbytes) {
  if (nbytes <= kSmall) {
    const int index = static_cast<int>((nbytes - 1) / kGranule);
    return {index, (index + 1) * kGranule};
  }
  const int power = 63 - __builtin_clzll(nbytes - 1);  // 2^power < nbytes <= 2^(power + 1)
  const int64_t step = int64_t{1} << (power - 3);
  const int64_t steps = (nbytes + step - 1) / step;  // 9 to 16
  return {16 + 8 * (power - 10) + static_cast<int>(steps - 9), steps * step};
}

}  // namespace

MemoryPool::MemoryPool(MemorySource& source)
    : source_(source), capacity_(std::min(source.capacity(), kLargest)), keeps_blocks_(keeps_blocks()) {}

std::byte* MemoryPool::take(int64_t requested) {
  if (requested < 0) throw ShapeError(message("buffer: ", requested, " bytes, expected 0 or more"));
  const std::lock_guard<std::mutex> lock(mutex_);
  if (requested > capacity_) refuse(requested);
  const SizeClass size = size_class(std::max<int64_t>(requested, 1));
  auto& kept = kept_[size.index];
  std::byte* block;
  if (!kept.blocks.empty()) {
    block = kept.blocks.back();
    kept.blocks.pop_back();
  } else {
    block = new_block(requested, keeps_blocks_ ? size.nbytes : std::max<int64_t>(requested, 1));
  }
  stats_.current += requested;
  stats_.peak = std::max(stats_.peak, stats_.current);
  return block;
}

void MemoryPool::give(std::byte* block, int64_t requested) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.current -= requested;
  int64_t nbytes = std::max<int64_t>(requested, 1);
  if (keeps_blocks_) {
    const SizeClass size = size_class(nbytes);
    auto& kept = kept_[size.index];
    kept.nbytes = nbytes = size.nbytes;
    try {
      kept.blocks.push_back(block);
      return;
    } catch (const std::bad_alloc&) {  // no room for the pointer: release the block to the source instead
    }
  }
  source_.release(block, nbytes);
  stats_.reserved -= nbytes;
}

void MemoryPool::trim() {
  const std::lock_guard<std::mutex> lock(mutex_);
  release_kept(0);
}

MemoryStats MemoryPool::stats() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void MemoryPool::reset_peak() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.peak = stats_.current;
}

std::byte* MemoryPool::new_block(int64_t requested, int64_t nbytes) {
  const int64_t peak = std::max(stats_.peak, stats_.current + requested);
  const int64_t bound = std::min(peak + peak / 4 + kSlack, capacity_);
  release_kept(bound - nbytes);
  std::byte* block = stats_.reserved + nbytes <= capacity_ ? source_.allocate(nbytes) : nullptr;
  if (!block) {
    release_kept(0);
    if (stats_.reserved + nbytes <= capacity_) block = source_.allocate(nbytes);
  }
  if (!block) refuse(requested);
  stats_.reserved += nbytes;
  return block;
}

// Releases kept blocks, largest first, until stats_.reserved <= `reserved` or none is left.
void MemoryPool::release_kept(int64_t reserved) {
  for (auto kept = kept_.rbegin(); kept != kept_.rend(); ++kept)
    while (stats_.reserved > reserved && !kept->blocks.empty()) {
      source_.release(kept->blocks.back(), kept->nbytes);
      kept->blocks.pop_back();
      stats_.reserved -= kept->nbytes;
    }
}

void MemoryPool::refuse(int64_t requested) const {
  throw OutOfMemoryError(message("out of memory: asked for ", requested, " bytes with ", stats_.current,
                                 " bytes in arrays (", stats_.reserved, " held from the system, which has ", capacity_,
                                 ")"));
}

}  // namespace needle
