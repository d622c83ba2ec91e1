// A map from the sequence numbers of nodes to small numbers: open addressing, no deletion, one sweep long.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace tg {

class SlotMap {
 public:
  static constexpr uint32_t kNone = ~0u;
  uint32_t& operator[](uint64_t key) {
    if ((used_ + 1) * 2 > entries_.size()) grow();
    Entry& e = find(key);
    if (e.key == 0) {
      e = {key, kNone};
      ++used_;
    }
    return e.slot;
  }

 private:
  struct Entry {
    uint64_t key = 0;  // sequence numbers start at 1
    uint32_t slot = kNone;
  };
  Entry& find(uint64_t key) {
    size_t i = key * 0x9E3779B97F4A7C15ull >> 20 & (entries_.size() - 1);
    while (entries_[i].key != 0 && entries_[i].key != key) i = (i + 1) & (entries_.size() - 1);
    return entries_[i];
  }
  void grow() {
    std::vector<Entry> old(std::max<size_t>(entries_.size() * 2, 64));
    old.swap(entries_);
    for (const Entry& e : old) {
      if (e.key) find(e.key) = e;
    }
  }
  std::vector<Entry> entries_;
  size_t used_ = 0;
};

}  // namespace tg
