// The pool of host memory: alignment, reuse, counters, its bound, and refusal.
#include "kernels/common/buffer.h"

#include <cstring>
#include <limits>
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

#ifndef __SANITIZE_ADDRESS__  // under which nothing is kept
TEST(released_blocks_are_used_again) {
  for (int64_t nbytes : {100, 5000, 3 << 20}) {
    std::byte* first;
    {
      const Buffer buffer(nbytes);
      first = buffer.data();
    }
    const int64_t reserved = memory_stats().reserved;
    const Buffer buffer(nbytes - 1);
    EXPECT(buffer.data() == first);
    EXPECT_EQ(memory_stats().reserved, reserved);
  }
}

TEST(trim_gives_kept_blocks_back) {
  trim_memory();
  const int64_t before = memory_stats().reserved;
  { const Buffer buffer(10 << 20); }
  EXPECT(memory_stats().reserved >= before + (10 << 20));
  trim_memory();
  EXPECT_EQ(memory_stats().reserved, before);
}

TEST(kept_memory_is_bounded) {
  trim_memory();
  reset_peak_memory();
  const int64_t mebibyte = 1 << 20;
  // sizes that no kept block serves: without a bound, 5 GiB would be held in the end
  for (int64_t size = 20; size < 100; ++size) const Buffer buffer(size * mebibyte + size * (mebibyte / 2));
  const MemoryStats stats = memory_stats();
  EXPECT(stats.reserved <= stats.peak + stats.peak / 4 + 64 * mebibyte);
  trim_memory();
}
#endif

TEST(counters_follow_buffers) {
  const MemoryStats before = memory_stats();
  {
    const Buffer a(1000), b(3000);
    EXPECT_EQ(memory_stats().current, before.current + 4000);
    EXPECT(memory_stats().peak >= before.current + 4000);
    EXPECT(memory_stats().reserved >= memory_stats().current);
  }
  EXPECT_EQ(memory_stats().current, before.current);
  reset_peak_memory();
  EXPECT_EQ(memory_stats().peak, before.current);
}

TEST(too_much_is_refused_and_survived) {
  const int64_t before = memory_stats().current;
  EXPECT_THROW(OutOfMemoryError, "asked for 1125899906842624 bytes", Buffer(int64_t{1} << 50));
  EXPECT_THROW(OutOfMemoryError, "out of memory", Buffer(std::numeric_limits<int64_t>::max()));
  EXPECT_THROW(ShapeError, "-1 bytes", Buffer(-1));
  EXPECT_EQ(memory_stats().current, before);
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
  const int64_t before = memory_stats().current;
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
  EXPECT_EQ(memory_stats().current, before);
}

}  // namespace
}  // namespace needle
