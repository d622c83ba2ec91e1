// What few nodes and tensors carry: hooks, several outputs, what a Function or a compiled call needs, recomputation.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tape/tape.h"

namespace tg {

// A function of the user that sees a gradient, or a leaf after its gradient was accumulated.
struct Hook {
  virtual ~Hook() = default;
  virtual Tensor call(const Tensor& t) = 0;  // an empty tensor: the gradient stays as it is
};

struct HookList {
  struct Entry {
    int64_t id;
    uint32_t output;
    std::shared_ptr<Hook> hook;
  };
  std::vector<Entry> entries;

  int64_t add(std::shared_ptr<Hook> hook, uint32_t output = 0);  // its id
  void remove(int64_t id);
  Tensor run(Tensor gradient, uint32_t output = 0) const;  // one after another
};
using Hooks = std::shared_ptr<HookList>;

// Sees the nodes that this thread records while there is one.
struct NodeWatch {
  virtual ~NodeWatch() = default;
  // Called when the node has its edges. False: what its gradient needs is not saved, restore() will bring it.
  virtual bool saves(Node& node) = 0;
};
extern constinit thread_local NodeWatch* node_watch TG_STATIC_TLS;

// Brings back what a node did not save.
struct Recomputation {
  virtual ~Recomputation() = default;
  virtual void restore() = 0;
  virtual void forget(Node& node) = 0;  // it is gone
};

struct NodeExtras {
  struct Output {
    Dims shape;
    DType dtype;
  };
  std::vector<Output> outputs;         // from output 1 on
  std::shared_ptr<void> run;           // what the backward pass of a replayed program or of a Function needs
  bool keeps_run = false;              // release() leaves it
  Hooks hooks;                         // null: none
  std::vector<TensorImpl*> retaining;  // outputs whose .grad is kept; each takes itself off
  std::shared_ptr<Recomputation> recomputation;
  size_t position = 0;                              // there
  std::vector<std::pair<int, uint64_t>> checksums;  // by input, of what NumPy can write to
  std::string line;                                 // of the user's program, in anomaly mode
};

// Memory that NumPy can write to is saved with a checksum; where that differs, check_sums() raises its version.
void save_open_input(Node& node, int i, const Tensor& t);
void check_sums(const NodeExtras& extras, int i, const Saved& s);

// Of a leaf: its hooks. Of another tensor: the node that keeps its gradient.
struct GradientExtras final : TensorExtras {
  Hooks before, after;
  Node* retained_by = nullptr;
  TensorImpl* tensor = nullptr;
  ~GradientExtras() override;
};
GradientExtras& extras_of(TensorImpl& t);
inline GradientExtras* find_extras(const TensorImpl& t) { return static_cast<GradientExtras*>(t.extras.get()); }
extern int64_t hooked_leaves;  // of the process: leaves that have or had a hook

void retain_grad(const Tensor& t);
bool retains_grad(const Tensor& t);

}  // namespace tg
