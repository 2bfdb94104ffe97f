#include <map>
#include <mutex>
#include <string>

#include "kernels/testing/cuda_emulation/library_numbers.h"

namespace {

std::mutex mutex;
std::map<std::string, int64_t> counts;

}  // namespace

void cuda_emulation::count_call(const char* name, int algorithm) {
  const std::lock_guard<std::mutex> lock(mutex);
  ++counts[algorithm < 0 ? std::string(name) : std::string(name) + "/" + std::to_string(algorithm)];
}

// For tests, which call it with ctypes.
extern "C" __attribute__((visibility("default"))) int64_t emulated_library_calls(const char* name) {
  const std::lock_guard<std::mutex> lock(mutex);
  return counts[name];
}
