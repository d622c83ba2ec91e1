// Which part of a graph a sweep needs: found by a walk from the roots, where somebody asks.
#pragma once
#include <unordered_map>

#include "tape/slot_map.h"
#include "tape/tape.h"

namespace tg {

// The nodes from which gradients flow on to the targets of autograd.grad.
class Needed {
 public:
  // With `stop_there`, what lies beyond a target is not needed for others.
  Needed(std::span<const Tensor> roots, std::span<const Tensor> targets, bool stop_there);
  bool leads_on(const Edge& e);  // whether a gradient is to be delivered there
  bool continues(Node& node);    // whether one of its inputs is needed, not only itself

 private:
  bool is_target(const void* leaf_or_node) const;
  std::vector<const void*> targets_;  // sorted
  SlotMap needed_;                    // 1 or 0, by node
};

// Whether a walk from the roots meets a leaf that is none of `inputs`; it does not go beyond those.
bool reaches_other_leaves(std::span<const Tensor> roots, std::span<const Tensor> inputs);

// How many gradients will reach each leaf that has hooks.
std::unordered_map<const TensorImpl*, int64_t> count_uses(std::span<const Tensor> roots);

}  // namespace tg
