// The arena: one block for all inner values, laid out by their lifetimes.
#include <algorithm>
#include <map>

#include "program/program.h"

namespace tg {
namespace {

constexpr size_t kAlign = 64;

// Free places by offset, the last without end. First the smallest that fits, joined again when they are given back.
class Places {
 public:
  size_t take(size_t bytes) {
    auto best = std::prev(free_.end());
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->second >= bytes && it->second < best->second) best = it;
    }
    const auto [at, size] = *best;
    free_.erase(best);
    if (size > bytes) free_[at + bytes] = size - bytes;
    return at;
  }
  void give_back(size_t at, size_t bytes) {
    const auto next = free_.find(at + bytes);
    if (next != free_.end()) {
      bytes += next->second;
      free_.erase(next);
    }
    const auto here = free_.emplace(at, bytes).first;
    if (here == free_.begin()) return;
    const auto before = std::prev(here);
    if (before->first + before->second != at) return;
    before->second += bytes;
    free_.erase(here);
  }

 private:
  std::map<size_t, size_t> free_ = {{0, SIZE_MAX / 2}};
};

}  // namespace

// Values take their place at their first instruction and give it back after their last one.
void Program::plan_arena() {
  constexpr size_t kNever = SIZE_MAX;
  std::vector<size_t> first(values.size(), kNever), last(values.size(), 0);
  const auto for_values = [&](size_t i, auto&& body) {
    for (int s : instructions[i].in) body(value_of(s));
    for (int s : instructions[i].out) body(value_of(s));
  };
  for (size_t i = 0; i < instructions.size(); ++i) {
    for_values(i, [&](size_t v) {
      if (first[v] == kNever) first[v] = i;
      last[v] = i;
    });
  }
  const auto lives_here = [&](size_t v) { return values[v].in_arena(); };
  // A constant is there from the beginning, and what a backward pass needs until the end: they run in any order.
  for (size_t v = 0; v < values.size(); ++v) {
    if (values[v].kind == Value::Kind::Constant && first[v] != kNever) first[v] = 0;
    if (first[v] < forward_end() && last[v] >= forward_end()) last[v] = instructions.size();
  }
  const auto bytes_of = [&](size_t v) { return std::max<size_t>((values[v].bytes + kAlign - 1) / kAlign, 1) * kAlign; };
  Places places;
  const auto place = [&](size_t v) {
    values[v].arena_offset = places.take(bytes_of(v));
    arena_bytes = std::max(arena_bytes, values[v].arena_offset + bytes_of(v));
  };
  for (size_t v = 0; v < values.size(); ++v) {
    if (values[v].kind == Value::Kind::Constant && lives_here(v) && first[v] == 0) place(v);
  }
  for (size_t i = 0; i < instructions.size(); ++i) {
    for_values(i, [&](size_t v) {
      if (first[v] != i || !lives_here(v) || values[v].kind == Value::Kind::Constant) return;
      first[v] = kNever;  // an operand may come twice
      place(v);
    });
    for_values(i, [&](size_t v) {
      if (last[v] != i || !lives_here(v)) return;
      last[v] = kNever;
      places.give_back(values[v].arena_offset, bytes_of(v));
    });
  }
}

}  // namespace tg
