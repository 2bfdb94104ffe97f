// What a library was asked once for a form of call, kept for the next call of that form: the entry that was not used for
// longest makes room for a new one. Not for two threads at once.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <utility>

namespace needle::cuda::libraries {

template <class Key, class Value>
class BoundedCache {
 public:
  explicit BoundedCache(size_t most) : most_(most) {}

  // The value kept for `key`, else what `make()`, a std::unique_ptr<Value>, gives; it lives until the next call.
  template <class Make>
  Value& find(const Key& key, const Make& make) {
    const auto found = positions_.find(key);
    if (found != positions_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
    } else {
      entries_.emplace_front(key, make());
      positions_[key] = entries_.begin();
      if (entries_.size() > most_) {
        positions_.erase(entries_.back().first);
        entries_.pop_back();
      }
    }
    return *entries_.front().second;
  }

 private:
  using Entries = std::list<std::pair<Key, std::unique_ptr<Value>>>;
  const size_t most_;
  Entries entries_;  // the one used last in front
  std::map<Key, typename Entries::iterator> positions_;
};

}  // namespace needle::cuda::libraries
