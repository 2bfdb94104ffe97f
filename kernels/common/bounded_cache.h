// What was made once for a form of call, kept for the next call of that form: the entry that was not used for longest
// makes room for a new one. Not for two threads at once.
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

  // The value kept for `key`, or null. It lives until the next `keep`.
  Value* find(const Key& key) {
    const auto found = positions_.find(key);
    if (found == positions_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &entries_.front().second;
  }

  // Keeps a value for a key that has none.
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
  Entries entries_;  // the one used last in front
  std::map<Key, typename Entries::iterator> positions_;
};

}  // namespace needle
