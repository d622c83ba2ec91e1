// The reverse sweep: nodes are visited from the last executed to the first, each once its gradient is complete.
#include <algorithm>
#include <stdexcept>

#include "tape/profile.h"
#include "tape/recorder.h"
#include "tape/tape.h"

namespace tg {
namespace {

// A node waiting for its turn, with the gradient that reached it so far.
struct Pending {
  Ref<GraphNode> ref;
  Tensor gradient;
  bool owned = false;  // the gradient was made by the sweep: it may be added to in place
  Node& node() const { return static_cast<Node&>(*ref); }
};

// Maps a node's sequence number to its slot: open addressing, no deletion, one sweep long.
class SlotMap {
 public:
  uint32_t& operator[](uint64_t key) {
    if ((used_ + 1) * 2 > entries_.size()) grow();
    Entry& e = find(key);
    if (e.key == 0) {
      e = {key, kNone};
      ++used_;
    }
    return e.slot;
  }
  static constexpr uint32_t kNone = ~0u;

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

class Sweep : Totals {
 public:
  Sweep(bool retain, bool create, std::span<const Tensor> into, bool stop_there)
      : retain_(retain), create_(create), stop_there_(stop_there), into_(into) {
    results_.resize(into.size());
    for (size_t i = 0; i < into.size(); ++i) {
      const Tensor& t = into[i];
      if (t->grad_fn) stops_[node_of(t).sequence] = static_cast<uint32_t>(i);
    }
  }

  void seed(const Tensor& root, const Tensor& gradient) {
    Edge e;
    if (root->grad_fn)
      e.node = root->grad_fn;
    else
      e.leaf = root.ref(), e.layout = root->layout;
    deliver(e, gradient);
  }

  void run() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const uint32_t slot = heap_.back().second;
      heap_.pop_back();
      Pending p = std::move(pending_[slot]);
      free_.push_back(slot);
      visit(p);
    }
  }

  std::vector<Tensor> results() { return std::move(results_); }

 private:
  static Node& node_of(const Tensor& t) { return static_cast<Node&>(*t->grad_fn); }

  void visit(Pending& p) {
    Node& node = p.node();
    if (!into_.empty() && collect(node, p.gradient) && stop_there_) return;
    if (recorder) [[unlikely]]
      recorder->visit(node);
    Tensor few[Node::kInline];
    std::vector<Tensor> more;
    if (node.inputs > Node::kInline) more.resize(static_cast<size_t>(node.inputs));
    const std::span<Tensor> grads = more.empty() ? std::span<Tensor>(few) : std::span<Tensor>(more);
    Backward step{node, p.gradient, grads, this};
    node.op->vjp(step);
    for (int i = 0; i < node.inputs; ++i) {
      Tensor& g = grads[static_cast<size_t>(i)];
      if (!g || !node.edge(i)) continue;
      if (g.is(p.gradient)) p.gradient = Tensor();
      deliver(node.edge(i), std::move(g), step.made);
    }
    if (!retain_) node.release();
  }

  // The results of autograd.grad for inner tensors: taken when the node's gradient is complete.
  bool collect(Node& node, const Tensor& g) {
    const uint32_t i = stops_[node.sequence];
    if (i == SlotMap::kNone) return false;
    for (size_t k = i; k < into_.size(); ++k) {
      if (into_[k]->grad_fn.get() == &node) results_[k] = g;
    }
    return true;
  }

  Tensor* find(const Edge& e) override {
    if (create_) return nullptr;
    if (e.node) {
      const uint32_t slot = slots_[static_cast<Node&>(*e.node).sequence];
      return slot != SlotMap::kNone && pending_[slot].owned ? &pending_[slot].gradient : nullptr;
    }
    e.checked_leaf();
    if (!into_.empty()) {
      const auto same = [&](const Tensor& t) { return t.ref() == e.leaf; };
      const auto at = std::find_if(into_.begin(), into_.end(), same);
      if (at == into_.end() || std::find_if(at + 1, into_.end(), same) != into_.end()) return nullptr;
      Tensor& total = results_[static_cast<size_t>(at - into_.begin())];
      return total ? &total : nullptr;
    }
    leaf_total_ = Tensor(grad_of(*e.leaf));
    if (!leaf_total_ || !leaf_total_.contiguous()) return nullptr;
    set_grad(*e.leaf, leaf_total_.ref());  // it is about to be written
    return &leaf_total_;
  }

  void deliver(const Edge& e, Tensor g, bool owned = false) {
    const Dims& want = e.leaf ? e.checked_leaf().shape : static_cast<Node&>(*e.node).shape;
    if (!(g.shape() == want)) {
      g = tape_ops::sum_to(g, want);
      owned = sole(g);
    }
    if (e.leaf) return deliver_leaf(e.leaf, std::move(g));
    Node& node = static_cast<Node&>(*e.node);
    uint32_t& slot = slots_[node.sequence];
    if (slot == SlotMap::kNone) {
      slot = new_slot();
      heap_.emplace_back(node.sequence, slot);
      std::push_heap(heap_.begin(), heap_.end());
      pending_[slot] = {e.node, std::move(g), owned};
    } else {
      add(pending_[slot].gradient, pending_[slot].owned, g);
    }
  }

  void deliver_leaf(const Ref<TensorImpl>& leaf, Tensor g) {
    if (into_.empty()) {
      Tensor total(grad_of(*leaf));
      bool in_place = total && total.contiguous();
      if (total)
        add(total, in_place, g);
      else
        total = own(std::move(g));
      set_grad(*leaf, total.ref());
      return;
    }
    bool owned = false;
    for (size_t i = 0; i < into_.size(); ++i) {
      if (!(into_[i].ref() == leaf)) continue;
      if (results_[i])
        add(results_[i], owned, g);
      else
        results_[i] = own(g);
    }
  }

  // A leaf's gradient shares memory with nobody: stolen where the sweep holds the only handle, copied otherwise.
  Tensor own(Tensor g) const { return sole(g) || (create_ && g->grad_fn) ? g : tape_ops::copy(g); }

  static bool sole(const Tensor& g) {
    return g->refs == 1 && g->storage->refs == 1 && g.contiguous() && !g->storage->release;
  }

  void add(Tensor& total, bool& owned, const Tensor& g) {
    if (owned && !create_) {
      tape_ops::add_in_place(total, g);
    } else {
      total = tape_ops::add(total, g);
      owned = true;
    }
  }

  uint32_t new_slot() {
    if (!free_.empty()) {
      const uint32_t s = free_.back();
      free_.pop_back();
      return s;
    }
    pending_.emplace_back();
    return static_cast<uint32_t>(pending_.size() - 1);
  }

  bool retain_, create_, stop_there_;
  std::span<const Tensor> into_;
  std::vector<Tensor> results_;
  Tensor leaf_total_;
  SlotMap slots_, stops_;
  std::vector<Pending> pending_;
  std::vector<uint32_t> free_;
  std::vector<std::pair<uint64_t, uint32_t>> heap_;  // (sequence, slot): the largest sequence comes first
};

}  // namespace

std::vector<Tensor> backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                             bool create_graph, std::span<const Tensor> into, bool stop_there) {
  const GradMode mode(create_graph);
  const SweepMode sweeping(true);
  const ProfileRange range("backward");
  Sweep sweep(retain_graph, create_graph, into, stop_there);
  for (size_t i = 0; i < roots.size(); ++i) {
    if (!roots[i].requires_grad()) {
      throw std::runtime_error("backward: " + describe(roots[i]) +
                               " does not require grad and has no grad_fn; was it computed under no_grad or detached, "
                               "or do no parameters require grad?");
    }
    sweep.seed(roots[i], gradients[i]);
  }
  sweep.run();
  return sweep.results();
}

}  // namespace tg
