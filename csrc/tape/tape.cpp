// Recording: nodes, what they save, and the checks when it is read back.
#include "tape/tape.h"

#include <stdexcept>
#include <utility>

#include "tape/anomaly.h"
#include "tape/extras.h"
#include "tape/recorder.h"
#include "tensor/outside.h"

namespace tg {
namespace {

uint64_t next_sequence = 0;  // under the GIL

Edge edge_to(const Tensor& t) {
  Edge e;
  if (t->grad_fn)
    e.node = t->grad_fn;
  else if (t->requires_grad)
    e.leaf = t.ref();
  e.layout = t->layout;
  e.output = t->output;
  return e;
}

// Nothing is saved: it was freed, or will be computed again.
void restore(const Node& node) {
  if (node.extras && node.extras->recomputation) {
    const auto held = node.extras->recomputation;
    held->restore();
  }
  if (!node.released) return;
  throw std::runtime_error(std::string(node.op->name) +
                           ": its saved tensors were freed by an earlier backward(); pass retain_graph=True to the "
                           "first call to go through the graph again");
}

}  // namespace

constinit thread_local bool grad_mode = true;
constinit thread_local bool inference_mode = false;
constinit thread_local bool keep_gil = false;
constinit thread_local Recorder* recorder = nullptr;

CapturePause::CapturePause() : recorder_(std::exchange(recorder, nullptr)) {
  if (recorder_) storage_watch = nullptr;
}
CapturePause::~CapturePause() {
  if (!recorder_) return;
  recorder = recorder_;
  storage_watch = recorder_;
}

const Ref<TensorImpl>& grad_of(TensorImpl& leaf) {
  if (recorder) [[unlikely]]
    recorder->read_grad(leaf);
  if (leaf.grad_elided) {
    throw std::runtime_error("grad: the gradient of the " + describe(Tensor(Ref(&leaf))) +
                             " was used up by the optimizer of a compiled step and not stored; compile the step with "
                             "keep_grads=True to read it, or call zero_grad() before the next backward()");
  }
  return leaf.grad;
}

void set_grad(TensorImpl& leaf, Ref<TensorImpl> grad) {
  if (recorder) [[unlikely]]
    recorder->write_grad(leaf);
  leaf.grad = std::move(grad);
  leaf.grad_elided = false;
}

Node::Node() = default;
Node::~Node() {
  if (!extras) return;
  if (extras->recomputation) extras->recomputation->forget(*this);
  for (TensorImpl* t : extras->retaining) find_extras(*t)->retained_by = nullptr;
}

void Node::release() {
  if (extras && extras->keeps_run) return;  // it has saved nothing
  released = true;
  for (Saved& s : saved_inline) s.tensor = Tensor();
  if (many) many->saved.clear();
  if (!extras) return;
  extras->checksums.clear();
  extras->run.reset();
  if (extras->recomputation) extras->recomputation->forget(*this);
  extras->recomputation.reset();
}

const TensorImpl& Edge::checked_leaf() const {
  if (leaf->layout != layout) fail_replaced("backward", Tensor(leaf));
  return *leaf;
}

const Attrs kNoAttrs{};

const Attrs& Backward::attrs() const { return node.attrs ? *node.attrs : no_attrs(); }

const Dims& Backward::input_shape(int i) const {
  const Edge& e = node.edge(i);
  return e.leaf ? e.checked_leaf().shape : static_cast<Node&>(*e.node).output_shape(e.output);
}

DType Backward::input_dtype(int i) const {
  const Edge& e = node.edge(i);
  if (e.leaf) return e.checked_leaf().dtype;
  const Node& made_by = static_cast<Node&>(*e.node);
  return e.output ? made_by.extras->outputs[e.output - 1].dtype : made_by.dtype;
}

Tensor Backward::input(int i) const {
  if (node.released) restore(node);
  const Saved& s = node.saved_input(i);
  const Storage& storage = *s.tensor->storage;
  const bool plain = !node.extras && !storage.watched;
  if (plain && s.tensor->layout == s.layout && storage.version == s.version) [[likely]]
    return s.tensor;
  if (node.extras) check_sums(*node.extras, i, s);
  return check_saved(node.op->name, s, "input");
}

Tensor Backward::output() const {
  if (node.released) restore(node);
  const Tensor& y = check_saved(node.op->name, node.saved_output(0), "output");
  if (!grad_enabled()) return y;
  Tensor attached = y.detach();
  attached->grad_fn = Ref<GraphNode>(&node);
  return attached;
}

Tensor Backward::second_output() const {
  if (node.released) restore(node);
  return node.saved_output(1).tensor;
}

uint64_t last_sequence() { return next_sequence; }

std::shared_ptr<void> Backward::run() const {
  if (node.released) restore(node);
  return node.extras->run;
}

// Sets the bits of what the gradients of the inputs need.
[[gnu::always_inline]] static inline Ref<GraphNode> make_node(const Call& call, const Tensor& out, unsigned& saves) {
  Ref<GraphNode> ref(new Node);
  Node& node = static_cast<Node&>(*ref);
  node.op = &call.op;
  node.sequence = ++next_sequence;
  node.inputs = static_cast<int>(call.in.size());
  node.shape = out.shape();
  node.dtype = out.dtype();
  if (&call.attrs != &no_attrs()) node.attrs = std::make_unique<Attrs>(call.attrs);
  if (node.inputs > Node::kInline) {
    node.many = std::make_unique<Node::Many>();
    node.many->edges.resize(call.in.size());
    node.many->saved.resize(call.in.size());
  }
  for (int i = 0; i < node.inputs; ++i) {
    Edge& e = node.edge(i) = edge_to(call.in[static_cast<size_t>(i)]);
    if (!e) continue;
    saves |= call.op.saves[std::min(i, 2)];
    node.holds_python |= e.node ? static_cast<Node&>(*e.node).holds_python : e.leaf->extras != nullptr;
  }
  if (anomaly_mode) [[unlikely]]
    node.get_extras().line = user_line();
  return ref;
}

Ref<GraphNode> new_node(const Call& call, const Tensor& out) {
  unsigned saves = 0;
  return make_node(call, out, saves);
}

void record(const Call& call, std::span<Tensor> out, bool in_place) {
  unsigned saves = 0;
  Ref<GraphNode> ref = make_node(call, out[0], saves);
  Node& node = static_cast<Node&>(*ref);
  if (node_watch && !node_watch->saves(node)) [[unlikely]]
    saves = 0;
  for (int i = 0; i < node.inputs; ++i) {  // bit 28 stands for the inputs from 28 on
    const Tensor& t = call.in[static_cast<size_t>(i)];
    if (!(saves >> std::min(i, 28) & 1)) continue;
    Storage& storage = *t->storage;
    storage.taped = true;
    if (open_to_writes(storage)) [[unlikely]]
      save_open_input(node, i, t);
    else
      node.saved_input(i) = {t, storage.version, t->layout};
  }
  if (saves & kSaveOutput) {
    node.saved_output(0) = {out[0].detach(), out[0]->storage->version + (in_place ? 1 : 0)};
    out[0]->storage->taped = true;
  }
  if (saves & kSaveSecond) node.saved_output(1) = {out[1], 0};
  const bool retained = in_place && out[0]->extras && retains_grad(out[0]);
  out[0]->grad_fn = std::move(ref);
  out[0]->output = 0;
  if (retained) retain_grad(out[0]);
}

}  // namespace tg
