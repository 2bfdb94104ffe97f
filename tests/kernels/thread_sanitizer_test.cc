// That ThreadSanitizer, with what kernels/testing/openmp_happens_before.cc tells it, reports races between threads of
// OpenMP, and nothing else.
#include <omp.h>

#include <atomic>

#include "kernels/common/parallel.h"
#include "kernels/testing/check.h"

namespace {

std::atomic<int> reports{0};

}  // namespace

// ThreadSanitizer calls these two. What it reports here is expected, and must not fail the program.
extern "C" {
__attribute__((visibility("default"))) void __tsan_on_report(void*) { ++reports; }
__attribute__((visibility("default"))) const char* __tsan_default_options() { return "exitcode=0"; }
}

namespace needle {
namespace {

template <class Work>
int reports_of(const Work& work) {
  const int before = reports;
  work();
  return reports - before;
}

TEST(parts_that_write_to_one_place_are_reported) {
  int written = 0;  // one for each test, for an address is reported only once
  const auto race = [&] { parallel_for(2, 2, [&](int part, int64_t, int64_t) { written = part; }); };
  EXPECT(reports_of(race) > 0);
  EXPECT(written < 2);
}

// Rank 0 reads, beyond the first barrier, what rank 1 writes on the way to the second.
TEST(what_no_barrier_orders_is_reported) {
  int written = 0, met = 0;
  const auto race = [&] {
#pragma omp parallel num_threads(2)
    {
      const int rank = omp_get_thread_num();
#pragma omp barrier
      if (rank == 0) met = written;
      if (rank == 1) written = 4;
#pragma omp barrier
    }
  };
  EXPECT(reports_of(race) > 0);
  EXPECT(met <= 4);
}

TEST(what_regions_and_barriers_order_is_not_reported) {
  int before = 1, between[2] = {}, after[2] = {};
  const auto work = [&] {
    for (int round = 0; round < 3; ++round) {
      ++before;
#pragma omp parallel num_threads(2)
      {
        const int rank = omp_get_thread_num();
        for (int i = 0; i < 5; ++i) {
          between[rank] += before;
#pragma omp barrier
          after[rank] += between[1 - rank];
#pragma omp barrier
        }
      }
      EXPECT_EQ(after[0], after[1]);
    }
  };
  EXPECT_EQ(reports_of(work), 0);
}

}  // namespace
}  // namespace needle
