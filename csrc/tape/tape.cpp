// Recording: nodes, what they save, and the checks when it is read back.
#include "tape/tape.h"

#include <stdexcept>
#include <utility>

#include "tape/recorder.h"

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
  return e;
}

[[noreturn]] void fail_replaced(const char* op, const Tensor& t) {
  throw std::runtime_error(std::string(op) + ": the .data of a tensor used in the forward pass was replaced by " +
                           describe(t) + ", of another shape, strides or dtype, so its gradient cannot be computed");
}

[[noreturn]] void fail_released(const Node& node) {
  throw std::runtime_error(std::string(node.op->name) +
                           ": its saved tensors were freed by an earlier backward(); pass retain_graph=True to the "
                           "first call to go through the graph again");
}

const Tensor& checked(const Node& node, const Saved& s, const char* what) {
  if (s.tensor->layout != s.layout) fail_replaced(node.op->name, s.tensor);
  if (s.tensor->storage->version != s.version) {
    throw std::runtime_error(std::string(node.op->name) + ": its " + what + " " + describe(s.tensor) +
                             ", needed for the gradient, was modified in place after the forward pass (version " +
                             std::to_string(s.tensor->storage->version) + ", expected " + std::to_string(s.version) +
                             "); use an out-of-place operation or modify a clone()");
  }
  return s.tensor;
}

}  // namespace

constinit thread_local bool grad_mode = true;
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

void Node::release() {
  released = true;
  for (Saved& s : saved_inline) s.tensor = Tensor();
  if (many) many->saved.clear();
  run.reset();
}

const TensorImpl& Edge::checked_leaf() const {
  if (leaf->layout != layout) fail_replaced("backward", Tensor(leaf));
  return *leaf;
}

const Attrs kNoAttrs{};

const Attrs& Backward::attrs() const { return node.attrs ? *node.attrs : no_attrs(); }

const Dims& Backward::input_shape(int i) const {
  const Edge& e = node.edge(i);
  return e.leaf ? e.checked_leaf().shape : static_cast<Node&>(*e.node).shape;
}

DType Backward::input_dtype(int i) const {
  const Edge& e = node.edge(i);
  return e.leaf ? e.checked_leaf().dtype : static_cast<Node&>(*e.node).dtype;
}

Tensor Backward::input(int i) const {
  if (node.released) fail_released(node);
  return checked(node, node.saved_input(i), "input");
}

Tensor Backward::output() const {
  if (node.released) fail_released(node);
  const Tensor& y = checked(node, node.saved_output(0), "output");
  if (!grad_enabled()) return y;
  Tensor attached = y.detach();
  attached->grad_fn = Ref<GraphNode>(&node);
  return attached;
}

Tensor Backward::second_output() const {
  if (node.released) fail_released(node);
  return node.saved_output(1).tensor;
}

uint64_t last_sequence() { return next_sequence; }

void* Backward::run() const {
  if (node.released) fail_released(node);
  return node.run.get();
}

void record(const Call& call, std::span<Tensor> out, bool in_place) {
  Ref<GraphNode> ref(new Node);
  Node& node = static_cast<Node&>(*ref);
  node.op = &call.op;
  node.sequence = ++next_sequence;
  node.inputs = static_cast<int>(call.in.size());
  node.shape = out[0].shape();
  node.dtype = out[0].dtype();
  if (&call.attrs != &no_attrs()) node.attrs = std::make_unique<Attrs>(call.attrs);
  if (node.inputs > Node::kInline) {
    node.many = std::make_unique<Node::Many>();
    node.many->edges.resize(call.in.size());
    node.many->saved.resize(call.in.size());
  }
  unsigned saves = 0;
  for (int i = 0; i < node.inputs; ++i) {
    node.edge(i) = edge_to(call.in[static_cast<size_t>(i)]);
    if (node.edge(i)) saves |= call.op.saves[std::min(i, 2)];
  }
  for (int i = 0; i < node.inputs; ++i) {  // bit 28 stands for the inputs from 28 on
    const Tensor& t = call.in[static_cast<size_t>(i)];
    if (saves >> std::min(i, 28) & 1) node.saved_input(i) = {t, t->storage->version, t->layout};
  }
  if (saves & kSaveOutput) node.saved_output(0) = {out[0].detach(), out[0]->storage->version + (in_place ? 1 : 0)};
  if (saves & kSaveSecond) node.saved_output(1) = {out[1], 0};
  out[0]->grad_fn = std::move(ref);
}

}  // namespace tg
