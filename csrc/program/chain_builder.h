// From instructions to a chain: where elementwise instructions read and write, and what a group of them becomes.
#pragma once
#include <optional>

#include "ops/chain.h"
#include "program/program.h"

namespace tg {

// An operand as the block loop reads it, or the result as it leaves it.
struct ChainAccess {
  int slot = -1;  // -1: not read
  int value = -1;
  Chain::Place place;

  bool whole() const { return place.kind == Chain::Place::Kind::Whole; }
};

// An instruction that can be a step of a chain, or, without a kernel, the sum or mean at its end.
struct ChainLink {
  ElementwiseKernel kernel;
  double ns;
  int64_t n;  // elements
  std::vector<ChainAccess> in;
  ChainAccess out;
};

std::optional<ChainLink> chain_link(const Program& p, const Instruction& i);

// Whether two accesses of one value are to the same elements, one by one.
bool same_elements(const Program& p, const ChainAccess& a, const ChainAccess& b);

// The chain that does what the links do one after another. `needed(value)`: what a link writes must get to memory.
// Nothing where the chain would need more buffers or places than there are.
class ChainBuilder {
 public:
  ChainBuilder(const Program& p, int64_t n) : program_(p) { chain_.n = n; }
  void add(const ChainLink& link);
  void add_sum(const ChainLink& link, const Instruction& i);
  template <class F>
  bool finish(F&& needed) {
    for (const auto& [value, place] : current_) {
      if (needed(value)) to_memory(place);
    }
    return complete();
  }

  Chain take() { return std::move(chain_); }
  std::vector<int> in, out;  // slots

 private:
  int place_of(const ChainAccess& a);
  void to_memory(int place);
  double bytes_ns() const;
  bool finish_sum();
  void choose_block();
  bool complete();
  bool assign_buffers();

  const Program& program_;
  Chain chain_;
  std::vector<std::pair<int, int>> current_;  // values that have been written: in which place they are now
  std::vector<ChainAccess> accesses_;         // of the places
  std::vector<int> last_use_;                 // of the places: step
  int sum_out_ = -1;                          // slot
};

}  // namespace tg
