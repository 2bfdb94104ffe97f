// The pool of host memory: alignment, reuse, counters, its bound, and refusal.
#include "kernels/common/buffer.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

TEST(blocks_are_aligned_and_writable) {
  for (int64_t nbytes : {0, 1, 63, 64, 65, 1000, 1025, 100000, 1 << 20, (5 << 20) + 1}) {
    const Buffer buffer(nbytes);
    EXPECT_EQ(buffer.nbytes(), nbytes);
    EXPECT(buffer.data() != nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment, 0u);
    std::memset(buffer.data(), 1, nbytes);
  }
}

// What a pool asks for and gives back.
struct WatchedMemory : MemorySource {
  int64_t given = 0, returned = 0;  // bytes
  std::byte block[4096];
  std::byte* allocate(int64_t nbytes) override { return given += nbytes, block; }
  void release(std::byte*, int64_t nbytes) noexcept override { returned += nbytes; }
  int64_t capacity() const override { return sizeof block; }
};

TEST(a_pool_may_keep_nothing) {
  const char* before = std::getenv("NEEDLE_MEMORY_POOL");
  const std::string setting = before ? before : "";
  for (const bool keeps : {true, false}) {
    setenv("NEEDLE_MEMORY_POOL", keeps ? "on" : "off", 1);
    WatchedMemory memory;
    MemoryPool pool(memory);
    pool.give(pool.take(1001), 1001);
    EXPECT_EQ(memory.given, keeps ? 1024 : 1001);
    EXPECT_EQ(memory.returned, keeps ? 0 : 1001);
    EXPECT_EQ(pool.stats().reserved, memory.given - memory.returned);
  }
  setenv("NEEDLE_MEMORY_POOL", "of", 1);
  WatchedMemory memory;
  EXPECT_THROW(std::runtime_error, "NEEDLE_MEMORY_POOL: 'of', expected on or off", MemoryPool{memory});
  setenv("NEEDLE_MEMORY_POOL", setting.c_str(), 1);
}

#ifndef __SANITIZE_ADDRESS__  // under which nothing is kept
TEST(released_blocks_are_used_again) {
  for (int64_t nbytes : {100, 5000, 3 << 20}) {
    std::byte* first;
    {
      const Buffer buffer(nbytes);
      first = buffer.data();
    }
    const int64_t reserved = host_pool().stats().reserved;
    const Buffer buffer(nbytes - 1);
    EXPECT(buffer.data() == first);
    EXPECT_EQ(host_pool().stats().reserved, reserved);
  }
}

TEST(trim_gives_kept_blocks_back) {
  host_pool().trim();
  const int64_t before = host_pool().stats().reserved;
  {
    const Buffer buffer(10 << 20);
  }
  EXPECT(host_pool().stats().reserved >= before + (10 << 20));
  host_pool().trim();
  EXPECT_EQ(host_pool().stats().reserved, before);
}

TEST(kept_memory_is_bounded) {
  host_pool().trim();
  host_pool().reset_peak();
  const int64_t mebibyte = 1 << 20;
  // sizes that no kept block serves: without a bound, 5 GiB would be held in the end
  for (int64_t size = 20; size < 100; ++size) const Buffer buffer(size * mebibyte + size * (mebibyte / 2));
  const MemoryStats stats = host_pool().stats();
  EXPECT(stats.reserved <= stats.peak + stats.peak / 4 + 64 * mebibyte);
  host_pool().trim();
}
#endif

TEST(counters_follow_buffers) {
  const MemoryStats before = host_pool().stats();
  {
    const Buffer a(1000), b(3000);
    EXPECT_EQ(host_pool().stats().current, before.current + 4000);
    EXPECT(host_pool().stats().peak >= before.current + 4000);
    EXPECT(host_pool().stats().reserved >= host_pool().stats().current);
  }
  EXPECT_EQ(host_pool().stats().current, before.current);
  host_pool().reset_peak();
  EXPECT_EQ(host_pool().stats().peak, before.current);
}

TEST(too_much_is_refused_and_survived) {
  const int64_t before = host_pool().stats().current;
  EXPECT_THROW(OutOfMemoryError, "asked for 1125899906842624 bytes", Buffer(int64_t{1} << 50));
  EXPECT_THROW(OutOfMemoryError, "out of memory", Buffer(std::numeric_limits<int64_t>::max()));
  EXPECT_THROW(ShapeError, "-1 bytes", Buffer(-1));
  EXPECT_EQ(host_pool().stats().current, before);
  const Buffer buffer(100);
  EXPECT(buffer.data() != nullptr);
}

TEST(a_view_releases_its_owner) {
  int released = 0;
  char memory[8];
  {
    const Buffer view(memory, 8, [&] { ++released; });
    EXPECT(static_cast<void*>(view.data()) == memory);
  }
  EXPECT_EQ(released, 1);
}

TEST(threads_share_the_pool) {
  const int64_t before = host_pool().stats().current;
  std::vector<std::thread> threads;
  bool intact[4] = {true, true, true, true};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&intact, t] {
      testing::Random random(t);
      std::vector<std::unique_ptr<Buffer>> held(8);
      for (int i = 0; i < 2000; ++i) {
        auto& slot = held[random.integer(0, 7)];
        if (slot && *slot->data() != std::byte(t)) intact[t] = false;
        slot = std::make_unique<Buffer>(random.integer(1, 3000));
        *slot->data() = std::byte(t);
      }
    });
  for (auto& thread : threads) thread.join();
  for (bool one : intact) EXPECT(one);
  EXPECT_EQ(host_pool().stats().current, before);
}

}  // namespace
}  // namespace needle
