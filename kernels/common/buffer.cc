// The pool of host memory: blocks that arrays gave back are kept for the next array of about that size, because the
// system hands out fresh memory page by page, zeroed, several times slower than a kernel writes it.
//
// A request is rounded up to a size class: multiples of 64 bytes up to 1 KiB, then eight classes per power of two, so
// that less than an eighth is wasted. A block serves its class only. Blocks of 1 MiB and more are mapped by themselves,
// so that giving one back returns its pages at once.
//
// What is kept is bounded: taking a new block from the system first gives kept ones back, largest first, until
//   reserved <= 1.25 * (highest number of bytes ever in arrays) + 64 MiB.
// A training loop therefore runs without asking the system for anything, and needs little more than its own peak.
#include "kernels/common/buffer.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/common/error.h"

namespace needle {
namespace {

constexpr int64_t kGranule = kAlignment;
constexpr int64_t kSmall = 1024;              // up to here a class for every granule
constexpr int64_t kMapped = int64_t{1} << 20;   // from here on blocks are mapped
constexpr int64_t kHuge = int64_t{4} << 20;     // from here on huge pages are asked for: one page fault in place of 512
constexpr int64_t kLargest = int64_t{1} << 46;
constexpr int64_t kSlack = int64_t{64} << 20;
constexpr int kNumClasses = 16 + 8 * 36;
#ifdef __SANITIZE_ADDRESS__
constexpr bool kKeepBlocks = false;  // lets AddressSanitizer see a use after release
#else
constexpr bool kKeepBlocks = true;
#endif

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
  const int64_t steps = (nbytes + step - 1) / step;    // 9 to 16
  return {16 + 8 * (power - 10) + static_cast<int>(steps - 9), steps * step};
}

int64_t read_number(const char* path) {
  int64_t value = 0;
  if (FILE* file = std::fopen(path, "r")) {
    if (std::fscanf(file, "%ld", &value) != 1) value = 0;  // the file says "max" where there is no limit
    std::fclose(file);
  }
  return value;
}

// What this process could have at all. The system promises more and then ends processes that use it; a refusal can be
// handled.
int64_t machine_memory() {
  struct sysinfo info;
  int64_t limit = kLargest;
  if (sysinfo(&info) == 0) limit = static_cast<int64_t>(info.totalram + info.totalswap) * info.mem_unit;
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (const int64_t group = read_number(path); group > 0) limit = std::min(limit, group);
  return limit;
}

std::byte* system_allocate(int64_t nbytes) {
  if (nbytes < kMapped) return static_cast<std::byte*>(std::aligned_alloc(kAlignment, nbytes));
  void* block = mmap(nullptr, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  if (nbytes >= kHuge) madvise(block, nbytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(block);
}

void system_release(std::byte* block, int64_t nbytes) {
  if (nbytes < kMapped)
    std::free(block);
  else
    munmap(block, nbytes);
}

class Pool {
 public:
  // One for the process, never destroyed: arrays may outlive every static object.
  static Pool& instance() {
    static Pool* pool = [] {
      auto* made = new Pool;
      pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().mutex_.unlock(); });
      return made;
    }();
    return *pool;
  }

  std::byte* take(int64_t requested) {
    if (requested < 0) throw ShapeError(message("buffer: ", requested, " bytes, expected 0 or more"));
    const std::lock_guard<std::mutex> lock(mutex_);
    if (requested > machine_memory_) refuse(requested);
    const SizeClass size = size_class(std::max<int64_t>(requested, 1));
    auto& kept = kept_[size.index];
    std::byte* block;
    if (!kept.blocks.empty()) {
      block = kept.blocks.back();
      kept.blocks.pop_back();
    } else {
      block = new_block(requested, size.nbytes);
    }
    stats_.current += requested;
    stats_.peak = std::max(stats_.peak, stats_.current);
    return block;
  }

  void give(std::byte* block, int64_t requested) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.current -= requested;
    const SizeClass size = size_class(std::max<int64_t>(requested, 1));
    auto& kept = kept_[size.index];
    kept.nbytes = size.nbytes;
    if (kKeepBlocks) {
      try {
        kept.blocks.push_back(block);
        return;
      } catch (const std::bad_alloc&) {  // no room for the pointer: give the block back to the system instead
      }
    }
    system_release(block, size.nbytes);
    stats_.reserved -= size.nbytes;
  }

  void trim(int64_t reserved) {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_kept(reserved);
  }

  MemoryStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.peak = stats_.current;
  }

 private:
  struct Kept {
    int64_t nbytes = 0;  // of each block
    std::vector<std::byte*> blocks;
  };

  std::byte* new_block(int64_t requested, int64_t nbytes) {
    const int64_t peak = std::max(stats_.peak, stats_.current + requested);
    const int64_t bound = std::min(peak + peak / 4 + kSlack, machine_memory_);
    release_kept(bound - nbytes);
    std::byte* block = stats_.reserved + nbytes <= machine_memory_ ? system_allocate(nbytes) : nullptr;
    if (!block) {
      release_kept(0);
      if (stats_.reserved + nbytes <= machine_memory_) block = system_allocate(nbytes);
    }
    if (!block) refuse(requested);
    stats_.reserved += nbytes;
    return block;
  }

  // Gives kept blocks back, largest first, until `reserved` is reached or none is left.
  void release_kept(int64_t reserved) {
    for (auto kept = kept_.rbegin(); kept != kept_.rend(); ++kept)
      while (stats_.reserved > reserved && !kept->blocks.empty()) {
        system_release(kept->blocks.back(), kept->nbytes);
        kept->blocks.pop_back();
        stats_.reserved -= kept->nbytes;
      }
  }

  [[noreturn]] void refuse(int64_t requested) const {
    throw OutOfMemoryError(message("out of memory: asked for ", requested, " bytes with ", stats_.current,
                                   " bytes in arrays (", stats_.reserved, " held from the system, which has ",
                                   machine_memory_, ")"));
  }

  std::mutex mutex_;
  std::array<Kept, kNumClasses> kept_;
  MemoryStats stats_{0, 0, 0};
  const int64_t machine_memory_ = std::min(machine_memory(), kLargest);
};

}  // namespace

Buffer::Buffer(int64_t nbytes) : data_(Pool::instance().take(nbytes)), nbytes_(nbytes) {}

Buffer::Buffer(void* data, int64_t nbytes, std::function<void()> release)
    : data_(static_cast<std::byte*>(data)), nbytes_(nbytes), release_(std::move(release)) {}

Buffer::~Buffer() {
  if (release_)
    release_();
  else
    Pool::instance().give(data_, nbytes_);
}

MemoryStats memory_stats() { return Pool::instance().stats(); }
void reset_peak_memory() { Pool::instance().reset_peak(); }
void trim_memory() { Pool::instance().trim(0); }

}  // namespace needle
