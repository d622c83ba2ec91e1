// Walks over a graph, without recursion.
#include "tape/reach.h"

#include <algorithm>

namespace tg {
namespace {

Node* node_of(const Ref<GraphNode>& ref) { return static_cast<Node*>(ref.get()); }

// Every node that can be reached from the roots, in no certain order; not beyond those where stop(node) holds.
template <class Stop>
std::vector<Node*> reachable(std::span<const Tensor> roots, Stop&& stop) {
  SlotMap seen;
  std::vector<Node*> found;
  const auto add = [&](const Ref<GraphNode>& ref) {
    Node* const node = node_of(ref);
    if (!node || seen[node->sequence] != SlotMap::kNone) return;
    seen[node->sequence] = 1;
    found.push_back(node);
  };
  for (const Tensor& root : roots) add(root->grad_fn);
  for (size_t i = 0; i < found.size(); ++i) {  // grows meanwhile
    Node& node = *found[i];
    if (stop(node)) continue;
    for (int k = 0; k < node.inputs; ++k) add(node.edge(k).node);
  }
  return found;
}

}  // namespace

Needed::Needed(std::span<const Tensor> roots, std::span<const Tensor> targets, bool stop_there) {
  for (const Tensor& t : targets) {
    targets_.push_back(t->grad_fn ? static_cast<const void*>(t->grad_fn.get()) : t.ref().get());
  }
  std::sort(targets_.begin(), targets_.end());
  const auto stops = [&](Node& node) { return stop_there && is_target(static_cast<GraphNode*>(&node)); };
  std::vector<Node*> nodes = reachable(roots, stops);
  std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) { return a->sequence < b->sequence; });
  for (Node* node : nodes) {
    const bool on = is_target(static_cast<GraphNode*>(node)) || continues(*node);
    needed_[node->sequence] = on ? 1 : 0;
  }
}

bool Needed::is_target(const void* p) const { return std::binary_search(targets_.begin(), targets_.end(), p); }

bool Needed::leads_on(const Edge& e) {
  if (e.leaf) return is_target(e.leaf.get());
  return e.node && needed_[node_of(e.node)->sequence] == 1;
}

bool Needed::continues(Node& node) {
  for (int i = 0; i < node.inputs; ++i) {
    if (leads_on(node.edge(i))) return true;
  }
  return false;
}

bool reaches_other_leaves(std::span<const Tensor> roots, std::span<const Tensor> inputs) {
  const auto is_input = [&](const void* p, bool node) {
    return std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& t) {
      return node ? static_cast<const void*>(t->grad_fn.get()) == p : static_cast<const void*>(t.ref().get()) == p;
    });
  };
  const auto stops = [&](Node& node) { return is_input(static_cast<GraphNode*>(&node), true); };
  for (const Tensor& root : roots) {
    if (!root->grad_fn && !is_input(root.ref().get(), false)) return true;
  }
  for (Node* node : reachable(roots, stops)) {
    if (stops(*node)) continue;
    for (int i = 0; i < node->inputs; ++i) {
      if (const TensorImpl* leaf = node->edge(i).leaf.get(); leaf && !is_input(leaf, false)) return true;
    }
  }
  return false;
}

std::unordered_map<const TensorImpl*, int64_t> count_uses(std::span<const Tensor> roots) {
  std::unordered_map<const TensorImpl*, int64_t> uses;
  const auto add = [&](const TensorImpl* leaf) {
    if (leaf && leaf->extras) ++uses[leaf];
  };
  for (const Tensor& root : roots) {
    if (!root->grad_fn) add(root.ref().get());
  }
  for (Node* node : reachable(roots, [](Node&) { return false; })) {
    for (int i = 0; i < node->inputs; ++i) add(node->edge(i).leaf.get());
  }
  return uses;
}

}  // namespace tg
