#include "kernels/common/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "kernels/common/error.h"

namespace needle {
namespace {

std::atomic<bool> forked{false};

// `count`, capped at OMP_THREAD_LIMIT and kMaxThreads.
int most(int count) { return std::min({count, omp_get_thread_limit(), kMaxThreads}); }

std::atomic<int>& setting() {
  static std::atomic<int> count = [] {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return most(omp_get_max_threads());
  }();
  return count;
}

}  // namespace

int num_threads() {
  const int count = setting().load(std::memory_order_relaxed);
  return forked.load(std::memory_order_relaxed) ? 1 : count;
}

void set_num_threads(int64_t count) {
  if (count < 1 || count > kMaxThreads)
    throw ShapeError(message("set_num_threads: ", count, ", expected 1 to ", kMaxThreads));
  if (forked && count != 1)
    throw std::runtime_error(
        "set_num_threads: a process made by fork() runs on one thread; start it with the "
        "'spawn' method to use more");
  setting() = most(static_cast<int>(count));
}

Caller this_caller() {
  static const bool is_placed = omp_get_proc_bind() != omp_proc_bind_false;  // OMP_PROC_BIND places the threads
  thread_local const int thread = gettid();
  return {thread, is_placed ? -1 : sched_getcpu()};
}

void keep_off(const Caller& caller) {
  thread_local int avoided = -1;
  if (avoided == caller.processor) return;
  avoided = caller.processor;
  cpu_set_t processors;
  if (avoided < 0 || sched_getaffinity(caller.thread, sizeof processors, &processors) != 0) return;
  CPU_CLR(avoided, &processors);
  if (CPU_COUNT(&processors) > 0) sched_setaffinity(0, sizeof processors, &processors);
}

void prepare_team() {
  thread_local int prepared = -1;
  const int processor = this_caller().processor;
  if (prepared == processor) return;
  prepared = processor;
  parallel_team(num_threads(), [](int, int) {});
}

}  // namespace needle
