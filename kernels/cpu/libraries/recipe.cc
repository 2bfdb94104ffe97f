#include "kernels/cpu/libraries/recipe.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "kernels/common/bounded_cache.h"
#include "kernels/common/parallel.h"

namespace needle::cpu::libraries {
namespace {

// A thread-safe cache of recipes.
class Cache {
 public:
  // One for the process, never destroyed, so that the order of destruction at exit does not matter.
  static Cache& instance() {
    static Cache* cache = [] {
      auto* made = new Cache;
      pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                     [] { instance().mutex_.unlock(); });
      return made;
    }();
    return *cache;
  }

  std::shared_ptr<const Recipe> find(const Key& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto* found = recipes_.find(key);
    return found ? *found : nullptr;
  }

  void keep(const Key& key, std::shared_ptr<const Recipe> recipe) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!recipes_.find(key)) recipes_.keep(key, std::move(recipe));  // else another thread has cached it meanwhile
  }

  int64_t size() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int64_t>(recipes_.size());
  }

 private:
  std::mutex mutex_;
  BoundedCache<Key, std::shared_ptr<const Recipe>> recipes_{kMaxRecipes};
};

}  // namespace

Key::Key(std::initializer_list<int64_t> values) {
  std::copy_n(values.begin(), std::min<size_t>(values.size(), kMaxNumbers - 1), numbers);
}

bool Key::operator<(const Key& other) const { return std::memcmp(numbers, other.numbers, sizeof numbers) < 0; }

std::shared_ptr<const Recipe> find_recipe(const Key& key, const std::function<void(Recipe&)>& make) {
  Key with_threads = key;
  with_threads.numbers[Key::kMaxNumbers - 1] = omp_get_max_threads();
  if (auto kept = Cache::instance().find(with_threads)) return kept;
  auto made = std::make_shared<Recipe>();
  try {
    make(*made);
  } catch (const Refused&) {  // cached as empty, because it would be refused again
    *made = Recipe();
  }
  Cache::instance().keep(with_threads, made);
  return made;
}

int64_t num_recipes() { return Cache::instance().size(); }

Threads::Threads()
    : count_(num_threads()), previous_count_(omp_get_max_threads()), previous_dynamic_(omp_get_dynamic()) {
  omp_set_dynamic(0);
  omp_set_num_threads(count_);
}

Threads::~Threads() {
  omp_set_num_threads(previous_count_);
  omp_set_dynamic(previous_dynamic_);
}

}  // namespace needle::cpu::libraries
