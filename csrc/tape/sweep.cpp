// The reverse sweep: nodes are visited from the last executed to the first, each once its gradient is complete.
#include <algorithm>
#include <stdexcept>

#include "tape/anomaly.h"
#include "tape/extras.h"
#include "tape/profile.h"
#include "tape/reach.h"
#include "tape/recorder.h"
#include "tape/tape.h"

namespace tg {
namespace {

struct Incoming {
  Tensor gradient;
  bool owned = false;  // made by the sweep: it may be added to in place
};

// A node waiting for its turn, with the gradients that reached it so far.
struct Pending {
  Ref<GraphNode> ref;
  Incoming first;                                // of output 0
  std::unique_ptr<std::vector<Incoming>> other;  // of output 1 and further ones
  Node& node() const { return static_cast<Node&>(*ref); }
  Incoming& of(uint32_t output) {
    if (output == 0) [[likely]]
      return first;
    if (!other) other = std::make_unique<std::vector<Incoming>>();
    if (other->size() < output) other->resize(output);
    return (*other)[output - 1];
  }
};

bool sole(const Tensor& g) { return g->refs == 1 && g->storage->refs == 1 && g.contiguous() && !g->storage->release; }

// A gradient that shares memory with nobody: taken over where this is the only handle, copied otherwise.
Tensor own(Tensor g, bool create_graph) { return sole(g) || (create_graph && g->grad_fn) ? g : tape_ops::copy(g); }

void add(Tensor& total, bool& owned, const Tensor& g, bool create_graph) {
  if (owned && !create_graph) {
    tape_ops::add_in_place(total, g);
  } else {
    total = tape_ops::add(total, g);
    owned = true;
  }
}

// While threads add to one gradient, none is let in between reading and writing it.
class KeepGil {
 public:
  KeepGil() : before_(keep_gil) { keep_gil = true; }
  ~KeepGil() { keep_gil = before_; }
  KeepGil(const KeepGil&) = delete;

 private:
  bool before_;
};

[[gnu::always_inline]] inline void add_to_grad(const Ref<TensorImpl>& into, Tensor g, bool create_graph) {
  const KeepGil alone;
  Tensor total(grad_of(*into));
  if (total) {
    bool in_place = total.contiguous();
    add(total, in_place, g, create_graph);
  } else {
    total = own(std::move(g), create_graph);
  }
  set_grad(*into, total.ref());
}

class Sweep : Totals {
 public:
  Sweep(bool retain, bool create, std::span<const Tensor> roots, std::span<const Tensor> into, bool stop_there)
      : retain_(retain), create_(create), stop_there_(stop_there), into_(into) {
    results_.resize(into.size());
    if (!into.empty()) needed_ = std::make_unique<Needed>(roots, into, stop_there);
    if (hooked_leaves && into.empty()) hooked_ = std::make_unique<Hooked>(Hooked{count_uses(roots), {}});
  }

  void seed(const Tensor& root, const Tensor& gradient) {
    Edge e;
    if (root->grad_fn)
      e.node = root->grad_fn, e.output = root->output;
    else
      e.leaf = root.ref(), e.layout = root->layout;
    if (!needed_ || needed_->leads_on(e)) deliver(e, gradient);
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
    while (hooked_ && !hooked_->waiting.empty()) finish_leaf(hooked_->waiting.size() - 1);
  }

  std::vector<Tensor> results() {
    for (size_t i = 0; i < into_.size(); ++i) {
      const GradientExtras* extras = into_[i]->grad_fn ? nullptr : find_extras(into_[i].impl());
      if (results_[i] && extras && extras->before) results_[i] = extras->before->run(std::move(results_[i]));
    }
    return std::move(results_);
  }

 private:
  void visit(Pending& p) {
    Node& node = p.node();
    if (node.extras) [[unlikely]]
      run_hooks(p);
    if (needed_ && collect(p)) return;
    if (recorder) [[unlikely]]
      recorder->visit(node);
    Tensor few[Node::kInline];
    std::vector<Tensor> more;
    if (node.inputs > Node::kInline) more.resize(static_cast<size_t>(node.inputs));
    const std::span<Tensor> grads = more.empty() ? std::span<Tensor>(few) : std::span<Tensor>(more);
    Backward step{node, p.first.gradient, grads, this};
    if (needed_ || p.other || anomaly_mode) [[unlikely]]
      call_vjp(step, p);
    else
      node.op->vjp(step);
    alone_.reset();
    for (int i = 0; i < node.inputs; ++i) {
      Tensor& g = grads[static_cast<size_t>(i)];
      if (!g || !step.needs(i)) continue;
      if (g.is(p.first.gradient)) p.first.gradient = Tensor();
      deliver(node.edge(i), std::move(g), step.made);
    }
    if (!retain_) node.release();
  }

  // With all that a step may have besides its gradient.
  void call_vjp(Backward& step, Pending& p) {
    Node& node = step.node;
    if (needed_) {
      if (node.inputs > capacity_) wanted_ = std::make_unique<bool[]>(static_cast<size_t>(capacity_ = node.inputs));
      for (int i = 0; i < node.inputs; ++i) wanted_[static_cast<size_t>(i)] = needed_->leads_on(node.edge(i));
      step.wanted = wanted_.get();
    }
    std::vector<Tensor> other;
    if (p.other) {
      for (Incoming& in : *p.other) other.push_back(std::move(in.gradient));
    }
    step.other = other;
    const bool had_nan = anomaly_mode && has_nan(p.first.gradient);
    node.op->vjp(step);
    if (anomaly_mode) check_gradients(node, had_nan, step.grads);
  }

  void run_hooks(Pending& p) {
    Node& node = p.node();
    const auto each_output = [&](auto&& f) {
      if (p.first.gradient) f(0, p.first);
      for (size_t i = 0; p.other && i < p.other->size(); ++i) {
        if ((*p.other)[i].gradient) f(static_cast<uint32_t>(i + 1), (*p.other)[i]);
      }
    };
    if (const Hooks hooks = node.extras->hooks) {
      if (recorder && !hooks->entries.empty()) recorder->refuse("backward() calls a hook");
      each_output([&](uint32_t k, Incoming& in) {
        in.gradient = hooks->run(own(std::move(in.gradient), create_), k);  // its own: a hook may write to it
        in.owned = false;
      });
    }
    const std::vector<TensorImpl*> retaining = node.extras->retaining;
    for (TensorImpl* t : retaining) {
      each_output([&](uint32_t k, const Incoming& in) {
        if (t->output == k) accumulate(Ref<TensorImpl>(t), in.gradient, create_);
      });
    }
  }

  // The results of autograd.grad for inner tensors: taken when the node's gradient is complete. True: it ends here.
  bool collect(Pending& p) {
    const bool ends = stop_there_ || !needed_->continues(p.node());
    bool found = false;
    for (size_t k = 0; k < into_.size(); ++k) {
      if (into_[k]->grad_fn.get() != p.ref.get()) continue;
      found = true;
      if (const Tensor& g = p.of(into_[k]->output).gradient) results_[k] = own(g, create_);
    }
    return found && ends;
  }

  Tensor* find(const Edge& e) override {
    if (create_) return nullptr;
    if (e.node) {
      const uint32_t slot = slots_[static_cast<Node&>(*e.node).sequence];
      if (slot == SlotMap::kNone) return nullptr;
      Incoming& in = pending_[slot].of(e.output);
      return in.owned ? &in.gradient : nullptr;
    }
    e.checked_leaf();
    if (!into_.empty()) {
      const auto same = [&](const Tensor& t) { return t.ref() == e.leaf; };
      const auto at = std::find_if(into_.begin(), into_.end(), same);
      if (at == into_.end() || std::find_if(at + 1, into_.end(), same) != into_.end()) return nullptr;
      Tensor& total = results_[static_cast<size_t>(at - into_.begin())];
      return total ? &total : nullptr;
    }
    leaf_total_ = e.leaf->extras ? Tensor() : Tensor(grad_of(*e.leaf));
    if (!leaf_total_ || !leaf_total_.contiguous()) return nullptr;
    set_grad(*e.leaf, leaf_total_.ref());  // it is about to be written
    alone_.emplace();
    return &leaf_total_;
  }

  void deliver(const Edge& e, Tensor g, bool owned = false) {
    const Dims& want = e.leaf ? e.checked_leaf().shape : static_cast<Node&>(*e.node).output_shape(e.output);
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
      pending_[slot].ref = e.node;
    }
    Incoming& in = pending_[slot].of(e.output);
    if (in.gradient)
      add(in.gradient, in.owned, g, create_);
    else
      in = {std::move(g), owned};
  }

  void deliver_leaf(const Ref<TensorImpl>& leaf, Tensor g) {
    if (into_.empty()) {
      if (leaf->extras) [[unlikely]]
        return wait_for_all(leaf, std::move(g));
      return add_to_grad(leaf, std::move(g), create_);
    }
    bool owned = false;
    for (size_t i = 0; i < into_.size(); ++i) {
      if (!(into_[i].ref() == leaf)) continue;
      if (results_[i])
        add(results_[i], owned, g, create_);
      else
        results_[i] = own(g, create_);
    }
  }

  // A leaf with hooks: they see the sum of its gradients, as soon as the last has come.
  void wait_for_all(const Ref<TensorImpl>& leaf, Tensor g) {
    if (!hooked_) hooked_ = std::make_unique<Hooked>();  // its first hook came during the sweep
    auto& waiting = hooked_->waiting;
    auto found = std::find_if(waiting.begin(), waiting.end(), [&](const auto& w) { return w.first == leaf; });
    if (found == waiting.end())
      found = waiting.insert(found, {leaf, {std::move(g), false}});
    else
      add(found->second.gradient, found->second.owned, g, create_);
    const auto uses = hooked_->uses.find(leaf.get());
    if (uses != hooked_->uses.end() && --uses->second == 0) finish_leaf(static_cast<size_t>(found - waiting.begin()));
  }

  void finish_leaf(size_t i) {
    auto& waiting = hooked_->waiting;
    const Ref<TensorImpl> leaf = waiting[i].first;
    Tensor g = std::move(waiting[i].second.gradient);
    waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
    const GradientExtras& extras = extras_of(*leaf);
    const auto has = [](const Hooks& h) { return h && !h->entries.empty(); };
    if (recorder && (has(extras.before) || has(extras.after))) recorder->refuse("backward() calls a hook");
    if (const Hooks hooks = extras.before) g = hooks->run(own(std::move(g), create_));
    accumulate(leaf, std::move(g), create_);
    if (const Hooks hooks = extras.after) hooks->run(Tensor(leaf));
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
  std::unique_ptr<Needed> needed_;  // null: everything
  std::vector<Tensor> results_;
  Tensor leaf_total_;
  std::optional<KeepGil> alone_;  // while a step adds to leaf_total_
  SlotMap slots_;
  std::vector<Pending> pending_;
  std::vector<uint32_t> free_;
  std::vector<std::pair<uint64_t, uint32_t>> heap_;  // (sequence, slot): the largest sequence comes first
  struct Hooked {                                    // leaves with hooks
    std::unordered_map<const TensorImpl*, int64_t> uses;
    std::vector<std::pair<Ref<TensorImpl>, Incoming>> waiting;
  };
  std::unique_ptr<Hooked> hooked_;
  std::unique_ptr<bool[]> wanted_;  // by input of the node that is visited
  int capacity_ = 0;                // of wanted_
};

}  // namespace

void accumulate(const Ref<TensorImpl>& into, Tensor g, bool create_graph) {
  add_to_grad(into, std::move(g), create_graph);
}

std::vector<Tensor> backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                             bool create_graph, std::span<const Tensor> into, bool stop_there) {
  const GradMode mode(create_graph);
  const SweepMode sweeping(true);
  const ProfileRange range("backward");
  for (const Tensor& root : roots) {
    if (!root.requires_grad()) {
      throw std::runtime_error("backward: " + describe(root) +
                               " does not require grad and has no grad_fn; was it computed under no_grad or detached, "
                               "or do no parameters require grad?");
    }
  }
  Sweep sweep(retain_graph, create_graph, roots, into, stop_there);
  for (size_t i = 0; i < roots.size(); ++i) sweep.seed(roots[i], gradients[i]);
  sweep.run();
  return sweep.results();
}

}  // namespace tg
