// A walk over a graph that compares reference counts with the references it has met.
#include "tape/owned.h"

#include <queue>
#include <unordered_map>

namespace tg {
namespace {

// Things refer only to what was recorded before them, so that in this order all references to a thing are met before
// the thing itself.
struct Place {
  uint64_t order;  // a node: twice its number; a tensor that it made: one more
  Node* node;      // null: a tensor
  TensorImpl* tensor;
  bool operator<(const Place& o) const { return order < o.order; }
};

class Walk {
 public:
  void refer(TensorImpl* t) {
    if (t) met(t, {t->grad_fn ? 2 * static_cast<Node&>(*t->grad_fn).sequence + 1 : 0, nullptr, t});
  }
  void refer(GraphNode* n) {
    Node* const node = static_cast<Node*>(n);
    if (n) met(n, {2 * node->sequence, node, nullptr});
  }
  Owned run() {
    constexpr int kMost = 4096;
    Owned owned;
    for (int i = 0; i < kMost && !queue_.empty(); ++i) {
      const Place p = queue_.top();
      queue_.pop();
      if (p.tensor && p.tensor->refs == references_[p.tensor]) enter(*p.tensor, owned);
      if (p.node && p.node->refs == references_[static_cast<GraphNode*>(p.node)]) enter(*p.node, owned);
    }
    return owned;
  }

 private:
  void met(const void* what, const Place& p) {
    if (references_[what]++ == 0) queue_.push(p);
  }
  void enter(TensorImpl& t, Owned& owned) {
    if (t.extras && !t.grad_fn) owned.tensors.push_back(find_extras(t));
    refer(t.grad_fn.get());
  }
  void enter(Node& node, Owned& owned) {
    if (!node.holds_python) return;
    if (node.extras) owned.nodes.push_back(&node);
    for (int i = 0; i < node.inputs; ++i) {
      const Edge& e = node.edge(i);
      refer(e.node.get());
      refer(e.leaf.get());
      if (!node.many || !node.many->saved.empty()) refer(node.saved_input(i).tensor.ref().get());
    }
  }

  std::unordered_map<const void*, int64_t> references_;
  std::priority_queue<Place> queue_;
};

}  // namespace

Owned owned_by_holder_of(const Tensor& t) noexcept {
  Walk walk;
  walk.refer(t.ref().get());
  return walk.run();
}

}  // namespace tg
