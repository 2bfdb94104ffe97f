// What a kernel runs on oneDNN, made once for each description of a call and kept.
//
// Making a primitive compiles machine code for its shapes, which takes as long as many runs of it. So primitives are
// kept by everything that went into them: operation, dtype, extents, stride, padding, number of threads. Only numbers
// are not kept, weights in oneDNN's order neither: a training step changes weights in place and tells nobody, so they
// are reordered at each call.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>

#include "kernels/dnnl/primitive.h"

namespace needle::dnnl {

struct Recipe {
  std::optional<Primitive> primitive;  // none where oneDNN has nothing good for the call
  std::optional<Primitive> reorder;    // of weights, where the primitive wants them in another order than ours
};

// All that a recipe depends on but the number of threads: which kernel, and its numbers.
struct Key {
  static constexpr int kMaxNumbers = 20;
  int64_t numbers[kMaxNumbers] = {};

  Key(std::initializer_list<int64_t> values);
  bool operator<(const Key& other) const;  // any order
};

// The recipe kept for the key and the present number of threads; else the one that `make` completes, or an empty one if
// it throws Refused, kept from now on in place of the one that was not used for longest.
std::shared_ptr<const Recipe> find_recipe(const Key& key, const std::function<void(Recipe&)>& make);

inline constexpr int64_t kMaxRecipes = 512;
int64_t num_recipes();

// While it lives, OpenMP gives oneDNN num_threads() threads, neither more nor fewer: its primitives rely on the number
// that they were made for.
class Threads {
 public:
  Threads();
  ~Threads();
  Threads(const Threads&) = delete;
  int count() const { return count_; }

 private:
  const int count_, previous_count_, previous_dynamic_;
};

}  // namespace needle::dnnl
