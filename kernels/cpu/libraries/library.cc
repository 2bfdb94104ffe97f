#include "kernels/cpu/libraries/library.h"

#include <dlfcn.h>
#include <omp.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "kernels/common/error.h"

namespace needle::cpu::libraries {
namespace {

struct Search {
  std::mutex mutex;
  std::function<std::vector<std::string>()> paths = [] { return std::vector<std::string>{"libdnnl.so.3"}; };
};
Search& search() {
  static auto* search = new Search;
  return *search;
}

std::atomic<Level> level{Level::avx512};

// The result of looking for the library; lives as long as the process.
struct Outcome {
  Library library{};
  bool usable = false;
  std::string status;
};

template <class Function>
bool find(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  return function != nullptr;
}

dnnl_cpu_isa_t instructions_of(Level wanted) {
  switch (wanted) {
    case Level::baseline: return dnnl_cpu_isa_sse41;
    case Level::avx2: return dnnl_cpu_isa_avx2;
    default: return dnnl_cpu_isa_default;
  }
}

using NumThreads = decltype(&omp_get_max_threads);

// The OpenMP with global symbol visibility, which all libraries of the process prefer to their own, or null: the
// program's, or one that a package loaded globally. PyTorch does so with its libgomp; a Needle wheel has another one.
NumThreads visible_openmp() {
  NumThreads visible = nullptr;
  find(dlopen(nullptr, RTLD_LAZY), "omp_get_max_threads", visible);
  return visible;
}

// Loads a library so that it binds to the same OpenMP as our kernels, if both need the same file.
void* load(const std::string& path) {
  const NumThreads visible = visible_openmp();
  const bool came_later = visible && visible != &omp_get_max_threads;
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | (came_later ? RTLD_DEEPBIND : 0));
}

// Whether the library uses the same OpenMP threads as our kernels: two teams would compete for the cores.
bool shares_threads(void* handle) {
  void* of_llvm;
  if (find(handle, "__kmpc_fork_call", of_llvm)) return false;
  if (visible_openmp() == &omp_get_max_threads) return true;
  NumThreads of_library;  // looked up in the library and its dependencies
  return find(handle, "omp_get_max_threads", of_library) && of_library == &omp_get_max_threads;
}

// The reason why the library behind `handle` cannot be used, or an empty string if it can; then `found` is filled in.
std::string take_library(void* handle, Library& found) {
#define NEEDLE_DNNL_FIND(name) \
  if (!find(handle, "dnnl_" #name, found.name)) return "has no function dnnl_" #name;
  NEEDLE_DNNL_FUNCTIONS(NEEDLE_DNNL_FIND)
#undef NEEDLE_DNNL_FIND
  const dnnl_version_t& version = *found.version();
  if (version.major != 3 || version.minor < 2)
    return message("is oneDNN ", version.major, ".", version.minor, ", expected 3.2 or a later 3");
  if (version.cpu_runtime != DNNL_RUNTIME_OMP || !shares_threads(handle))
    return "has threads of its own, expected those of GNU OpenMP";
  if (level < highest_level()) found.set_max_cpu_isa(instructions_of(level));
  found.set_primitive_cache_capacity(0);  // recipe.cc has its own, bounded cache
  if (found.engine_create(&found.engine, dnnl_cpu, 0) != dnnl_success ||
      found.primitive_attr_create(&found.attributes) != dnnl_success ||
      found.primitive_attr_set_scratchpad_mode(found.attributes, dnnl_scratchpad_mode_user) != dnnl_success)
    return "does not start";
  return "";
}

std::unique_ptr<Outcome> look_for_library() {
  std::function<std::vector<std::string>()> paths;
  {
    const std::lock_guard<std::mutex> lock(search().mutex);
    paths = search().paths;
  }
  auto outcome = std::make_unique<Outcome>();
  std::string failures;
  for (const std::string& path : paths()) {
    void* handle = load(path);
    std::string failure;
    if (!handle) {
      failure = dlerror();  // begins with the path
    } else if (failure = take_library(handle, outcome->library); failure.empty()) {
      const dnnl_version_t& version = *outcome->library.version();
      outcome->usable = true;
      outcome->status = message("oneDNN ", version.major, ".", version.minor, ".", version.patch, ", ", path);
      return outcome;
    } else {
      failure = path + " " + failure;  // the library stays loaded, because its own threads may be running
    }
    failures += (failures.empty() ? "" : "; ") + failure;
  }
  outcome->status = "no oneDNN: " + (failures.empty() ? "libdnnl.so.3 was not found" : failures);
  return outcome;
}

// Holds no lock while it searches, because the search may wait for the GIL. Two threads may both load the library,
// which is harmless; one outcome is kept.
const Outcome& outcome() {
  static std::atomic<const Outcome*> known{nullptr};
  const Outcome* result = known.load(std::memory_order_acquire);
  if (result) return *result;
  std::unique_ptr<Outcome> found = look_for_library();
  if (known.compare_exchange_strong(result, found.get(), std::memory_order_acq_rel)) return *found.release();
  return *result;
}

}  // namespace

const Library* library() {
  const Outcome& known = outcome();
  return known.usable ? &known.library : nullptr;
}

const std::string& library_status() { return outcome().status; }

void set_library_search(std::function<std::vector<std::string>()> paths) {
  const std::lock_guard<std::mutex> lock(search().mutex);
  search().paths = std::move(paths);
}

void set_library_level(Level wanted) { level = wanted; }

}  // namespace needle::cpu::libraries
