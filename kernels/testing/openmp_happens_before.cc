// Tells ThreadSanitizer about the happens-before relations that OpenMP establishes.
//
// gcc's OpenMP runtime, libgomp, is built without the sanitizer's instrumentation and waits on futexes, which the
// sanitizer does not see. So it would report every result that one thread of a team leaves for another. gcc compiles
// `#pragma omp parallel` to a call of GOMP_parallel and `#pragma omp barrier` to a call of GOMP_barrier. Under the
// sanitizer, tests use the versions of these two functions defined here: they call libgomp's, and declare that
//
//   everything before a region starts       happens before everything its threads do,
//   everything a thread does in the region  happens before what comes after its end,
//   what a thread does before a barrier     happens before what any thread does after it.
//
// Nothing else orders the threads, so two conflicting accesses without a barrier in between are reported. Our kernels
// use no other OpenMP construct. Another one, such as a dynamic schedule, `critical` or a reduction, would need its
// GOMP_ function here; until then its use would be reported as a race even if it is none.
//
// oneDNN is not instrumented either: the sanitizer sees only its calls of memset and the like, without their ordering.
// They are suppressed. So is the C library's freeing of the memory of ended threads.
#ifdef __SANITIZE_THREAD__

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

namespace {

// A parallel region, whose members represent synchronization points. Two barriers alternate; with only one, a thread
// that leaves a barrier late would seem ordered after what others did on their way to the next.
struct Region {
  void (*body)(void*);
  void* data;
  char start = 0, end = 0, barriers[2] = {};
};

// The region that this thread is in, and the number of barriers it has passed there.
thread_local Region* region = nullptr;
thread_local unsigned met = 0;

template <class Function>
Function* in_libgomp(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// The function that every thread of a region runs. Its own accesses are not checked, because it reads a Region before
// the acquire that orders the read.
__attribute__((no_sanitize("thread"))) void run(void* argument) {
  Region* const outer = region;
  const unsigned outer_met = met;
  region = static_cast<Region*>(argument);
  met = 0;
  __tsan_acquire(&region->start);
  region->body(region->data);
  __tsan_release(&region->end);
  region = outer;
  met = outer_met;
}

}  // namespace

#define NEEDLE_IN_PLACE_OF_LIBGOMP __attribute__((visibility("default"), no_sanitize("thread")))

extern "C" {

__attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "called_from_lib:libdnnl.so.3\nrace:_dl_deallocate_tls\n";
}

NEEDLE_IN_PLACE_OF_LIBGOMP void GOMP_parallel(void (*body)(void*), void* data, unsigned num_threads, unsigned flags) {
  static auto* const parallel = in_libgomp<void(void (*)(void*), void*, unsigned, unsigned)>("GOMP_parallel");
  Region made{body, data};
  __tsan_release(&made.start);
  parallel(run, &made, num_threads, flags);
  __tsan_acquire(&made.end);
}

NEEDLE_IN_PLACE_OF_LIBGOMP void GOMP_barrier() {
  static auto* const barrier = in_libgomp<void()>("GOMP_barrier");
  char* const moment = region ? &region->barriers[met++ % 2] : nullptr;
  if (moment) __tsan_release(moment);
  barrier();
  if (moment) __tsan_acquire(moment);
}

}  // extern "C"

#endif
