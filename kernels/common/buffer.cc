#include "kernels/common/buffer.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

namespace needle {
namespace {

constexpr int64_t kMapped = int64_t{1} << 20;  // from this size blocks are mapped, so that release returns their pages
constexpr int64_t kHuge = int64_t{4} << 20;    // from this size blocks ask for huge pages: 1 page fault instead of 512

int64_t read_number(const char* path) {
  int64_t value = 0;
  if (FILE* file = std::fopen(path, "r")) {
    if (std::fscanf(file, "%ld", &value) != 1) value = 0;  // the file says "max" where there is no limit
    std::fclose(file);
  }
  return value;
}

// The most memory that this process could ever get. Linux overcommits and then kills processes that use what it
// promised; refusing a request instead raises an error that the caller can handle.
int64_t machine_memory() {
  struct sysinfo info;
  int64_t limit = std::numeric_limits<int64_t>::max();
  if (sysinfo(&info) == 0) limit = static_cast<int64_t>(info.totalram + info.totalswap) * info.mem_unit;
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (const int64_t group = read_number(path); group > 0) limit = std::min(limit, group);
  return limit;
}

class HostMemory : public MemorySource {
 public:
  std::byte* allocate(int64_t nbytes) override {
    void* block = nullptr;
    if (nbytes < kMapped)
      return posix_memalign(&block, kAlignment, nbytes) == 0 ? static_cast<std::byte*>(block) : nullptr;
    block = mmap(nullptr, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    if (nbytes >= kHuge) madvise(block, nbytes, MADV_HUGEPAGE);
    return static_cast<std::byte*>(block);
  }

  void release(std::byte* block, int64_t nbytes) noexcept override {
    if (nbytes < kMapped)
      std::free(block);
    else
      munmap(block, nbytes);
  }

  int64_t capacity() const override { return machine_memory(); }
};

}  // namespace

MemoryPool& host_pool() {
  static MemoryPool* pool = [] {  // never destroyed: arrays may outlive every static object
    auto* made = new MemoryPool(*new HostMemory);
    pthread_atfork([] { host_pool().lock(); }, [] { host_pool().unlock(); }, [] { host_pool().unlock(); });
    return made;
  }();
  return *pool;
}

Buffer::Buffer(int64_t nbytes, MemoryPool& pool) : data_(pool.take(nbytes)), nbytes_(nbytes), pool_(&pool) {}

Buffer::Buffer(void* data, int64_t nbytes, std::function<void()> release)
    : data_(static_cast<std::byte*>(data)), nbytes_(nbytes), release_(std::move(release)) {}

Buffer::~Buffer() {
  if (pool_)
    pool_->give(data_, nbytes_);
  else
    release_();
}

}  // namespace needle
