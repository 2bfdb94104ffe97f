// OpenMP threads: their number, and the parallel loop that uses them.
#pragma once

#include <omp.h>

#include <cstdint>

namespace needle {

// An upper bound beyond any machine's core count. libgomp aborts the process if the system refuses to create a thread,
// and oneDNN crashes with 100,000 threads.
inline constexpr int kMaxThreads = 1024;

// The number of threads that a kernel may use. It defaults to OMP_NUM_THREADS or else the processors available to this
// process, and never exceeds OMP_THREAD_LIMIT or kMaxThreads. All Python threads share the setting. A process made by
// fork() runs on one thread, because libgomp's threads do not survive a fork and waiting for them would hang;
// set_num_threads throws there unless count is 1.
int num_threads();
void set_num_threads(int64_t count);

// Below this many element operations per thread, waking a second thread costs more than it gains: a parallel region
// takes about 2 to 5 microseconds, in which one core adds some 20,000 to 50,000 numbers.
inline constexpr int64_t kWorkPerThread = 32768;

struct Range {
  int64_t begin, end;
};

// The `part`th of `parts` ranges that divide 0..count-1 evenly.
static inline Range part_of(int64_t count, int64_t part, int64_t parts) {
  const int64_t each = count / parts, rest = count % parts;
  const int64_t begin = each * part + (part < rest ? part : rest);
  return {begin, begin + each + (part < rest ? 1 : 0)};
}

// The number of parts to give parallel_for for `count` items that take `work` element operations in total.
static inline int parallel_parts(int64_t count, int64_t work) {
  int64_t parts = work / kWorkPerThread;
  if (parts > count) parts = count;
  if (parts <= 1) return 1;
  const int threads = num_threads();
  return parts < threads ? static_cast<int>(parts) : threads;
}

// The thread that is about to start a team, and the processor that it runs on; -1 if OMP_PROC_BIND places threads.
struct Caller {
  int thread, processor;
};
Caller this_caller();

// Lets the calling thread run on any processor allowed to `caller` except the one that `caller` is running on.
//
// Linux wakes a thread on its previous processor if that one is idle. In a virtual machine an idle processor may look
// as if the host had preempted it. The thread is then queued on its waker's processor, and the two take turns on one
// core until the system balances its load. docs/performance.md, "Two threads on one core", has figures.
void keep_off(const Caller& caller);

// Calls body(rank, size) on each of `threads` threads; the calling thread is rank 0. `body` must not throw, because no
// exception may leave a parallel region.
template <class Body>
void parallel_team(int threads, const Body& body) {
  if (threads <= 1) return body(0, 1);
  const Caller caller = this_caller();
#pragma omp parallel num_threads(threads)
  {
    const int rank = omp_get_thread_num();
    if (rank > 0) keep_off(caller);
    body(rank, omp_get_num_threads());
  }
}

// Places the threads of the next team as parallel_team does, for a team that a library will start.
void prepare_team();

// Calls body(part, begin, end) for each part's range. `body` must not throw.
//
// The team always has all threads, even if some get no part: libgomp ends the threads that a smaller team leaves out,
// and the next larger team must create them again, at some 30 microseconds each.
template <class Body>
void parallel_for(int64_t count, int parts, const Body& body) {
  if (parts <= 1) return body(0, int64_t{0}, count);
  parallel_team(num_threads(), [&](int rank, int size) {
    for (int part = rank; part < parts; part += size) {
      const Range range = part_of(count, part, parts);
      body(part, range.begin, range.end);
    }
  });
}

}  // namespace needle
