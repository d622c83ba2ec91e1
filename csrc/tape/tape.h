// The tape: nodes recorded by execute(), and the reverse sweep over them.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tape/op.h"

namespace tg {

// A tensor kept for the backward pass, with the version its storage had and its count of layouts.
struct Saved {
  Tensor tensor;
  uint32_t version = 0;
  uint32_t layout = 0;
};

// The tensor, if nobody has written to its memory since; otherwise throws, naming `op` and who has.
const Tensor& check_saved(const char* op, const Saved& saved, const char* what);

[[noreturn]] void fail_replaced(const char* op, const Tensor& t);

struct Node;
struct NodeExtras;  // tape/extras.h

// Where a gradient goes: to the node that made the input, or into the leaf's grad.
struct Edge {
  Ref<GraphNode> node;
  Ref<TensorImpl> leaf;
  uint32_t layout = 0;  // of the leaf
  uint32_t output = 0;  // which of the node's outputs it is
  explicit operator bool() const { return node || leaf; }
  const TensorImpl& checked_leaf() const;  // throws where the leaf's .data has another layout by now
};

// One recorded execution of an op. Numbered in order of execution.
struct Node : GraphNode {
  const Op* op = nullptr;
  uint64_t sequence = 0;
  int inputs = 0;
  bool released = false;         // its saved tensors are gone
  bool holds_python = false;     // it or a node before it refers to Python objects, which may refer back
  std::unique_ptr<Attrs> attrs;  // null: the op was run with none
  Dims shape;                    // of output 0, and so of the incoming gradient
  DType dtype = DType::Float32;
  static constexpr int kInline = 3;
  Edge edges_inline[kInline];
  Saved saved_inline[kInline + 2];  // inputs 0 to 2, then the outputs
  struct Many {                     // for ops with more inputs
    std::vector<Edge> edges;
    std::vector<Saved> saved;
  };
  std::unique_ptr<Many> many;
  std::unique_ptr<NodeExtras> extras;  // null: none

  Edge& edge(int i) { return many ? many->edges[static_cast<size_t>(i)] : edges_inline[i]; }
  Saved& saved_input(int i) { return many ? many->saved[static_cast<size_t>(i)] : saved_inline[i]; }
  Saved& saved_output(int i) { return saved_inline[kInline + i]; }
  const Dims& output_shape(uint32_t output) const;
  NodeExtras& get_extras();
  void release();
  Node();
  ~Node() override;
  static void* operator new(size_t n) { return allocate(n); }
  static void operator delete(void* p, size_t n) { deallocate(p, n); }
};

// The gradients that a sweep has summed so far.
struct Totals {
  virtual Tensor* find(const Edge& e) = 0;  // null where there is none that may be added to in place
};

// One step of the reverse sweep, as an op's vjp sees it.
struct Backward {
  Node& node;
  const Tensor& g;  // gradient of output 0, of the output's shape and dtype
  std::span<Tensor> grads;
  Totals* totals = nullptr;
  bool made = false;              // grads[0] is not shared with anything
  const bool* wanted = nullptr;   // null: every input that requires a gradient
  std::span<const Tensor> other;  // gradients of output 1 and further ones, empty where none came

  bool needs(int i) const {  // no for an input that the op was not given
    return i < node.inputs && (wanted ? wanted[i] : static_cast<bool>(node.edge(i)));
  }
  const Attrs& attrs() const;
  const Dims& input_shape(int i) const;  // of an input that needs a gradient
  DType input_dtype(int i) const;
  Tensor input(int i) const;          // saved input, after the version check
  Tensor output() const;              // saved output 0, back in the graph
  Tensor second_output() const;       // saved output 1, a constant
  std::shared_ptr<void> run() const;  // NodeExtras::run
  // A gradient may have the broadcast shape: the sweep sums it down to the input's.
  void set(int i, Tensor grad) { grads[static_cast<size_t>(i)] = std::move(grad); }
  // Of ops whose gradient is zero but for a part of input 0: the sum to which that part can be added, or null; then
  // set_made() gives the whole gradient, to which further parts are added.
  Tensor* total() { return totals ? totals->find(node.edge(0)) : nullptr; }
  void set_made(Tensor grad) { set(0, std::move(grad)), made = true; }
};

extern constinit thread_local bool grad_mode TG_STATIC_TLS;
extern constinit thread_local bool inference_mode TG_STATIC_TLS;  // no gradient mode is switched on
inline bool grad_enabled() { return grad_mode; }
inline void set_grad_enabled(bool on) { grad_mode = on && !inference_mode; }
extern constinit thread_local bool keep_gil TG_STATIC_TLS;  // kernels, too, run without letting other threads in

struct GradMode {  // scoped
  explicit GradMode(bool on) : before(grad_enabled()) { set_grad_enabled(on); }
  ~GradMode() { set_grad_enabled(before); }
  GradMode(const GradMode&) = delete;
  bool before;
};

// Puts the outputs of `call` on the tape. The caller has checked that a gradient is wanted, and raises the version
// of out[0] afterwards where it was written in place.
void record(const Call& call, std::span<Tensor> out, bool in_place = false);

// The start of a node for `call`, whose output 0 has this shape: numbered, with its edges.
Ref<GraphNode> new_node(const Call& call, const Tensor& out);

// Accumulates d(roots . gradients) into the .grad of the leaves (`into` empty), or returns it for `into` (an empty
// tensor where nothing flows). Nodes give up what they saved unless retain_graph. With `stop_there` the sweep does not
// go beyond `into`.
std::vector<Tensor> backward(std::span<const Tensor> roots, std::span<const Tensor> gradients, bool retain_graph,
                             bool create_graph, std::span<const Tensor> into = {}, bool stop_there = false);

// Adds to the .grad of a tensor as the sweep does: the gradient given to it is its own.
void accumulate(const Ref<TensorImpl>& into, Tensor g, bool create_graph);

uint64_t last_sequence();  // the number of the latest node

// What the sweep needs of the ops; defined in ops/.
namespace tape_ops {
Tensor add(const Tensor& a, const Tensor& b);
void add_in_place(Tensor& a, const Tensor& b);
Tensor sum_to(const Tensor& t, const Dims& shape);
Tensor copy(const Tensor& t);
}  // namespace tape_ops

}  // namespace tg
