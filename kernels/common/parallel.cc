#include "kernels/common/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>

#include "kernels/common/error.h"

namespace needle {
namespace {

std::atomic<bool> forked{false};

std::atomic<int>& setting() {
  static std::atomic<int> count = [] {
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
    return omp_get_max_threads();
  }();
  return count;
}

}  // namespace

int num_threads() {
  const int count = setting().load(std::memory_order_relaxed);
  return forked.load(std::memory_order_relaxed) ? 1 : count;
}

void set_num_threads(int count) {
  if (count < 1) throw ShapeError(message("set_num_threads: ", count, ", expected 1 or more"));
  if (forked && count != 1)
    throw std::runtime_error("set_num_threads: a process made by fork() runs on one thread; start it with the "
                             "'spawn' method to use more");
  setting() = count;
}

}  // namespace needle
