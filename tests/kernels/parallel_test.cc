// How work is shared out among threads, and what a fork leaves of them.
#include "kernels/common/parallel.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "kernels/common/error.h"
#include "kernels/testing/check.h"

namespace needle {
namespace {

TEST(parts_cover_everything_once) {
  for (int64_t count : {0, 1, 5, 64, 1000})
    for (int parts : {1, 2, 3, 7}) {
      int64_t next = 0;
      for (int part = 0; part < parts; ++part) {
        const Range range = part_of(count, part, parts);
        EXPECT_EQ(range.begin, next);
        EXPECT(range.end - range.begin <= count / parts + 1);
        next = range.end;
      }
      EXPECT_EQ(next, count);
    }
}

TEST(little_work_stays_on_one_thread) {
  set_num_threads(4);
  EXPECT_EQ(parallel_parts(1000, kWorkPerThread), 1);
  EXPECT_EQ(parallel_parts(1000, 3 * kWorkPerThread), 3);
  EXPECT_EQ(parallel_parts(1000, 100 * kWorkPerThread), 4);
  EXPECT_EQ(parallel_parts(2, 100 * kWorkPerThread), 2);
  EXPECT_EQ(parallel_parts(0, 0), 1);
}

TEST(a_parallel_loop_visits_every_item) {
  for (int parts : {1, 2, 5}) {
    std::vector<int> visits(1000, 0);
    parallel_for(1000, parts, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++visits[i];
    });
    for (int count : visits) EXPECT_EQ(count, 1);
  }
}

cpu_set_t processors_of_this_thread() {
  cpu_set_t processors;
  EXPECT_EQ(sched_getaffinity(0, sizeof processors, &processors), 0);
  return processors;
}

TEST(a_team_starts_off_its_callers_processor) {
  const cpu_set_t all = processors_of_this_thread();
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  for (int processor : {first, -1, first}) {
    cpu_set_t expected = all;
    if (processor >= 0 && CPU_COUNT(&all) > 1) CPU_CLR(processor, &expected);
    std::thread([&] {
      keep_off({static_cast<int>(getpid()), processor});
      const cpu_set_t met = processors_of_this_thread();
      EXPECT(CPU_EQUAL(&met, &expected));
    }).join();
  }
}

TEST(a_caller_that_moves_frees_the_processor_it_leaves) {
  const cpu_set_t all = processors_of_this_thread();
  std::thread([&] {
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (!CPU_ISSET(processor, &all)) continue;
      keep_off({static_cast<int>(getpid()), processor});
      const cpu_set_t met = processors_of_this_thread();
      if (CPU_COUNT(&all) > 1) EXPECT(!CPU_ISSET(processor, &met) && CPU_COUNT(&met) == CPU_COUNT(&all) - 1);
    }
  }).join();
}

TEST(the_only_processor_is_shared) {
  const cpu_set_t all = processors_of_this_thread();
  const int processor = sched_getcpu();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  std::thread([&] {
    keep_off({static_cast<int>(getpid()), processor});
    const cpu_set_t met = processors_of_this_thread();
    EXPECT(CPU_EQUAL(&met, &one));
  }).join();
  EXPECT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

TEST(a_count_that_no_machine_has_is_refused) {
  EXPECT_THROW(ShapeError, "0, expected 1 to 1024", set_num_threads(0));
  EXPECT_THROW(ShapeError, "-3", set_num_threads(-3));
  EXPECT_THROW(ShapeError, "1000000000, expected 1 to 1024", set_num_threads(1000000000));
}

#ifndef __SANITIZE_THREAD__  // which does not follow a fork of many threads
TEST(kernels_work_after_a_fork) {
  set_num_threads(2);
  const Array a = testing::compact(DType::float32, {1 << 20}), sum = testing::compact(DType::float32, {1});
  testing::fill(a, [] { return 1.0; });
  const Kernels& kernels = cpu::kernels(Level::baseline);
  kernels.sum(a, sum);  // starts the threads that the child will not have
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a child that waits for them would wait forever
    kernels.sum(a, sum);
    _exit(num_threads() == 1 && *sum.data<float>() == 1 << 20 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(num_threads(), 2);
}
#endif

}  // namespace
}  // namespace needle
