#include "kernels/dnnl/recipe.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "kernels/common/parallel.h"

namespace needle::dnnl {
namespace {

struct Hash {
  size_t operator()(const Key& key) const {  // FNV-1a, number by number
    uint64_t hash = 14695981039346656037u;
    for (int64_t number : key.numbers) hash = (hash ^ static_cast<uint64_t>(number)) * 1099511628211u;
    return hash ^ (hash >> 32);
  }
};

// Recipes, the one used last in front.
class Cache {
 public:
  // One for the process, never destroyed: primitives must not outlive the library, whatever is destroyed first.
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
    const auto found = positions_.find(key);
    if (found == positions_.end()) return nullptr;
    recipes_.splice(recipes_.begin(), recipes_, found->second);
    return found->second->second;
  }

  void keep(const Key& key, std::shared_ptr<const Recipe> recipe) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (positions_.count(key)) return;  // another thread made the same meanwhile
    recipes_.emplace_front(key, std::move(recipe));
    positions_[key] = recipes_.begin();
    if (static_cast<int64_t>(recipes_.size()) > kMaxRecipes) {
      positions_.erase(recipes_.back().first);
      recipes_.pop_back();
    }
  }

  int64_t size() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int64_t>(recipes_.size());
  }

 private:
  using Entry = std::pair<Key, std::shared_ptr<const Recipe>>;
  std::mutex mutex_;
  std::list<Entry> recipes_;
  std::unordered_map<Key, std::list<Entry>::iterator, Hash> positions_;
};

}  // namespace

Key::Key(std::initializer_list<int64_t> values) {
  std::copy_n(values.begin(), std::min<size_t>(values.size(), kMaxNumbers - 1), numbers);
}

bool Key::operator==(const Key& other) const { return std::memcmp(numbers, other.numbers, sizeof numbers) == 0; }

std::shared_ptr<const Recipe> find_recipe(const Key& key, const std::function<void(Recipe&)>& make) {
  Key with_threads = key;
  with_threads.numbers[Key::kMaxNumbers - 1] = omp_get_max_threads();
  if (auto kept = Cache::instance().find(with_threads)) return kept;
  auto made = std::make_shared<Recipe>();
  make(*made);
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

}  // namespace needle::dnnl
