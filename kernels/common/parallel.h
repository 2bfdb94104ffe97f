// OpenMP threads: how many, and the one loop that uses them.
#pragma once

#include <omp.h>

#include <cstdint>

namespace needle {

// More than any machine has cores for. libgomp ends the process where the system refuses a thread, and oneDNN crashes
// with 100,000.
inline constexpr int kMaxThreads = 1024;

// Threads that a kernel may use: OMP_NUM_THREADS or the processors of this process, until set; never more than
// OMP_THREAD_LIMIT or kMaxThreads. One setting for all Python threads. A process made by fork() runs on one thread, for
// libgomp's own threads do not survive a fork and waiting for them would never end; set_num_threads throws there.
int num_threads();
void set_num_threads(int64_t count);

// Below this many element operations for each thread, waking a second one costs more than it gains: a parallel region
// costs about 2 to 5 microseconds, in which one core adds some 20,000 to 50,000 numbers.
inline constexpr int64_t kWorkPerThread = 32768;

struct Range {
  int64_t begin, end;
};

// The `part`th of `parts` ranges that share out 0..count-1 evenly.
static inline Range part_of(int64_t count, int64_t part, int64_t parts) {
  const int64_t each = count / parts, rest = count % parts;
  const int64_t begin = each * part + (part < rest ? part : rest);
  return {begin, begin + each + (part < rest ? 1 : 0)};
}

// The number of parts that parallel_for will make of `count` items of `work` element operations together.
static inline int parallel_parts(int64_t count, int64_t work) {
  int64_t parts = work / kWorkPerThread;
  if (parts > count) parts = count;
  if (parts <= 1) return 1;
  const int threads = num_threads();
  return parts < threads ? static_cast<int>(parts) : threads;
}

// The thread that is about to start a team, and the processor that it runs on; -1 where nobody needs to know.
struct Caller {
  int thread, processor;
};
Caller this_caller();

// Lets the calling thread run on any processor that `caller` may run on but the one that it does run on.
//
// Linux wakes a thread where it ran before if that processor is idle. In a virtual machine an idle processor may look
// like one that the host has taken away: the thread then goes to where its waker runs, behind it, and the two take turns
// on one core until the system balances its load. docs/performance.md, "Two threads on one core", has figures.
void keep_off(const Caller& caller);

// Calls body(rank, size) on each of `threads` threads, the calling one being rank 0; `body` must not throw, for no
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

// Does for the threads of the next team, one that somebody else's code will start, what parallel_team does.
void prepare_team();

// Calls body(part, begin, end) for each part's range. `body` must not throw.
//
// The team is always that of all threads, though some may find no part: libgomp ends the threads that a smaller team
// leaves out, and the next larger one has to make them anew, some 30 microseconds each.
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
