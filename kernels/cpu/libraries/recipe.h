// A cache of the oneDNN primitives that kernels run, keyed by call signature.
//
// Creating a primitive compiles machine code for its shapes, which takes as long as many runs of it. So primitives are
// cached, keyed by everything that they depend on: operation, dtype, extents, stride, padding, number of threads. Data
// is never cached, not even weights in oneDNN's order: a training step changes weights in-place without notice, so they
// are reordered at each call.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>

#include "kernels/cpu/libraries/primitive.h"

namespace needle::cpu::libraries {

struct Recipe {
  std::optional<Primitive> primitive;  // none if oneDNN has no optimized implementation of the call
  std::optional<Primitive> reorder;    // reorders the weights, if the primitive's order differs from ours
};

// Everything that a recipe depends on except the number of threads: the kernel and its numeric parameters.
struct Key {
  static constexpr int kMaxNumbers = 20;
  int64_t numbers[kMaxNumbers] = {};

  Key(std::initializer_list<int64_t> values);
  bool operator<(const Key& other) const;  // an arbitrary order
};

// The recipe cached for the key and the current number of threads. If there is none, calls `make` to fill in a new one
// (left empty if `make` throws Refused) and caches it, evicting the least recently used one.
std::shared_ptr<const Recipe> find_recipe(const Key& key, const std::function<void(Recipe&)>& make);

inline constexpr int64_t kMaxRecipes = 512;
int64_t num_recipes();

// For its lifetime, OpenMP gives oneDNN exactly num_threads() threads, because primitives rely on the number of threads
// that they were created for.
class Threads {
 public:
  Threads();
  ~Threads();
  Threads(const Threads&) = delete;
  int count() const { return count_; }

 private:
  const int count_, previous_count_, previous_dynamic_;
};

}  // namespace needle::cpu::libraries
