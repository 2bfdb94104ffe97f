// Tells ThreadSanitizer how OpenMP orders what its threads do.
//
// gcc's OpenMP runtime, libgomp, is built without the sanitizer's instructions and waits on futexes, which the
// sanitizer does not see. It would report every result that one thread of a team leaves for another. gcc turns
// `#pragma omp parallel` into a call of GOMP_parallel and `#pragma omp barrier` into one of GOMP_barrier. Under the
// sanitizer, tests have these two from here: they call libgomp's, and state what that establishes:
//
//   what happens before a region starts     happens before all that its threads do,
//   what a thread does in the region        happens before what comes after its end,
//   what a thread does ahead of a barrier   happens before what any does beyond it.
//
// Nothing else orders the threads, so two of them that meet in one place without a barrier in between are reported. Our
// kernels use no other construct of OpenMP. Another one, such as a dynamic schedule, `critical` or a reduction, would
// need its GOMP_ function here; until then its use would be reported where it is not a race.
//
// oneDNN is not built for the sanitizer either: of what it does, only its calls of memset and the like are seen, without
// what orders them. They are left out. So is how the C library frees what belonged to a thread that ended.
#ifdef __SANITIZE_THREAD__

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

namespace {

// A parallel region, whose members stand for moments in time. Two barriers take turns: else a thread that leaves one
// late would seem to come after what others did on the way to the next.
struct Region {
  void (*body)(void*);
  void* data;
  char start = 0, end = 0, barriers[2] = {};
};

// The region that this thread is in, and how many barriers it has met there.
thread_local Region* region = nullptr;
thread_local unsigned met = 0;

template <class Function>
Function* in_libgomp(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// What every thread of a region runs. Its own accesses are not checked: it reads a Region before it has said when.
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
