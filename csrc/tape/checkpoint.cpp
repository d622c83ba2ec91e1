// Checkpoint: the nodes of the first run take over what those of the second have saved.
#include "tape/checkpoint.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "tape/profile.h"

namespace tg {

bool Checkpoint::saves(Node& node) {
  if (restoring_) {
    again_.emplace_back(&node);
    return true;
  }
  NodeExtras& extras = node.get_extras();
  extras.recomputation = shared_from_this();
  extras.position = nodes_.size();
  node.released = true;
  nodes_.push_back(&node);
  return false;
}

void Checkpoint::forget(Node& node) { nodes_[node.extras->position] = nullptr; }

void Checkpoint::restore() {
  if (restoring_) throw std::runtime_error("checkpoint: the function ran backward() through itself");
  {
    const NodeWatchScope watched(this);
    const GradMode on(true);
    const SweepMode forward(false);
    restoring_ = true;
    try {
      run_again_();
    } catch (...) {
      restoring_ = false;
      again_.clear();
      throw;
    }
    restoring_ = false;
  }
  const std::vector<Ref<GraphNode>> again = std::move(again_);
  again_.clear();
  bool same = again.size() == nodes_.size();
  for (size_t i = 0; same && i < again.size(); ++i) {
    const Node& b = static_cast<Node&>(*again[i]);
    same = !nodes_[i] || (nodes_[i]->op == b.op && nodes_[i]->shape == b.shape && nodes_[i]->dtype == b.dtype);
  }
  if (!same) {
    throw std::runtime_error("checkpoint: the function did something else when it ran again for the gradient (" +
                             std::to_string(nodes_.size()) + " recorded operations, then " +
                             std::to_string(again.size()) + (again.size() == nodes_.size() ? " others)" : ")") +
                             "; it must depend on nothing that has changed, or be run without checkpoint()");
  }
  for (size_t i = 0; i < again.size(); ++i) {
    if (!nodes_[i] || !nodes_[i]->released) continue;
    Node &node = *nodes_[i], &from = static_cast<Node&>(*again[i]);
    std::copy(std::begin(from.saved_inline), std::end(from.saved_inline), std::begin(node.saved_inline));
    if (node.many) node.many->saved = from.many->saved;
    if (from.extras) node.extras->run = from.extras->run;
    if (from.extras) node.extras->checksums = from.extras->checksums;
    node.released = false;
  }
}

}  // namespace tg
