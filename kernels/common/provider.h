// The provider of the kernels that a library has as well as we: oneDNN for CPUs (kernels/cpu/libraries/), NVIDIA's
// libraries for GPUs (kernels/cuda/libraries/). In both folders kernels.h declares the library's kernels, provider.h
// chooses between them and ours, and choice_table.inc holds the measurements that decide.
#pragma once

#include <atomic>
#include <cstdint>

namespace needle {

// `native` is our kernels. `library` uses the library for every call that it supports, `automatic` for those for which
// it was measured to be faster.
enum class Provider { native, library, automatic };

// The setting of a backend, one for all threads, and the number of calls that the library executed for each of its
// kernels.
template <int kNumKernels>
class ProviderState {
 public:
  Provider provider() const { return provider_.load(std::memory_order_relaxed); }
  void set_provider(Provider provider) { provider_ = provider; }

  void count_call(int kernel) { calls_[kernel].fetch_add(1, std::memory_order_relaxed); }
  int64_t num_calls(int kernel) const { return calls_[kernel].load(std::memory_order_relaxed); }

 private:
  std::atomic<Provider> provider_{Provider::automatic};
  std::atomic<int64_t> calls_[kNumKernels]{};
};

}  // namespace needle
