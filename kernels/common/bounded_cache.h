// An LRU cache of bounded size: adding an entry to a full cache evicts the least recently used one. Not thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace needle {

template <class Key, class Value>
class BoundedCache {
 public:
  explicit BoundedCache(size_t most) : most_(most) {}

  // The value cached for `key`, or null. The pointer is valid until the next call of `keep`.
  Value* find(const Key& key) {
    const auto found = positions_.find(key);
    if (found == positions_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &entries_.front().second;
  }

  // Caches a value for a key that has none yet.
  Value& keep(const Key& key, Value value) {
    entries_.emplace_front(key, std::move(value));
    positions_[key] = entries_.begin();
    if (entries_.size() > most_) {
      positions_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return entries_.front().second;
  }

  size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<std::pair<Key, Value>>;
  const size_t most_;
  Entries entries_;  // most recently used first
  std::map<Key, typename Entries::iterator> positions_;
};

}  // namespace needle
