// Outputs that carry a graph out of a captured run: their backward passes are captured with it and replayed on demand.
#include <algorithm>
#include <stdexcept>
#include <unordered_set>

#include "ops/execute.h"
#include "ops/ops.h"
#include "program/capture.h"
#include "tape/extras.h"

namespace tg {
namespace {

Node& node_of(const Tensor& t) { return static_cast<Node&>(*t->grad_fn); }

// Calls see(node) for the nodes from `root` on, not beyond those of `stops`, and returns the leaves they end in.
template <class F>
std::vector<Tensor> walk(const Tensor& root, std::span<const Tensor> stops, F&& see) {
  std::vector<Tensor> leaves;
  std::unordered_set<const void*> seen;
  for (const Tensor& t : stops) {
    if (t->grad_fn) seen.insert(t->grad_fn.get());
  }
  std::vector<Node*> todo = {&node_of(root)};
  while (!todo.empty()) {
    Node& node = *todo.back();
    todo.pop_back();
    if (!seen.insert(&node).second) continue;
    see(node);
    for (int i = 0; i < node.inputs; ++i) {
      const Edge& e = node.edge(i);
      if (e.node) todo.push_back(static_cast<Node*>(e.node.get()));
      if (e.leaf && seen.insert(e.leaf.get()).second) leaves.emplace_back(e.leaf);
    }
  }
  return leaves;
}

// Whether the run itself has used up what the node saved, or has changed it.
bool is_over(Node& node) {
  const auto changed = [](const Saved& s) { return s.tensor && s.tensor->storage->version != s.version; };
  bool over = node.released;
  for (int i = 0; i < node.inputs; ++i) over |= changed(node.saved_input(i));
  for (int i = 0; i < kMaxOutputs; ++i) over |= changed(node.saved_output(i));
  return over;
}

void replayed_vjp(Backward& b) {
  if (grad_enabled()) {
    throw std::runtime_error(
        "compile: the gradient of a compiled function's result cannot be differentiated again (create_graph=True); "
        "take the gradient inside of the compiled function, or call the function uncompiled");
  }
  const std::shared_ptr<void> held = b.run();
  const auto& run = *static_cast<const Program::Pending*>(held.get());
  std::vector<Tensor> gradients = run.program->replay_backward(run, b.g);
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i] && b.needs(static_cast<int>(i))) b.set(static_cast<int>(i), std::move(gradients[i]));
  }
}
constexpr Op kReplayed = {"compiled", nullptr, nullptr, nullptr, replayed_vjp};

}  // namespace

// What the graph saved stays with the outputs.
void Capture::keep_saved(Node& node) {
  for (int i = 0; i < node.inputs; ++i) {
    if (const Tensor& t = node.saved_input(i).tensor) alive_.erase(t->storage->mark);
  }
  for (int i = 0; i < kMaxOutputs; ++i) {
    if (const Tensor& t = node.saved_output(i).tensor) alive_.erase(t->storage->mark);
  }
}

void Capture::finish_backward(std::span<const Tensor> outputs) {
  std::vector<Tensor> stops;  // arguments that are results of a graph outside
  for (const Tensor& t : arguments_) {
    if (t->grad_fn) stops.push_back(t);
  }
  for (size_t k = 0; k < outputs.size() && !failed_; ++k) {
    const Tensor& y = outputs[k];
    if (!y->grad_fn || program_->outputs[k].kind == Output::Kind::Argument || node_of(y).released) continue;
    if (node_of(y).sequence <= first_sequence_) continue;  // a tensor of before
    BackwardPart part;
    part.output = static_cast<int>(k);
    bool over = false;
    part.leaves = walk(y, stops, [&](Node& node) {
      keep_saved(node);
      over |= is_over(node);
    });
    if (over) continue;  // nobody can differentiate it any more
    part.arguments.assign(part.leaves.size(), -1);
    for (size_t i = 0; i < arguments_.size(); ++i) {
      if (!arguments_[i].requires_grad()) continue;
      const auto leaf =
          std::find_if(part.leaves.begin(), part.leaves.end(), [&](const Tensor& t) { return t.is(arguments_[i]); });
      if (leaf != part.leaves.end()) {
        part.arguments[static_cast<size_t>(leaf - part.leaves.begin())] = static_cast<int>(i);
      } else if (arguments_[i]->grad_fn) {
        part.leaves.push_back(arguments_[i]);
        part.arguments.push_back(static_cast<int>(i));
      }
    }
    Tensor g;
    {
      const CapturePause pause;
      g = ops::zero_(Tensor::empty(y.shape(), y.dtype()));
    }
    Value incoming;
    incoming.kind = Value::Kind::Argument;
    incoming.argument = static_cast<int>(arguments_.size());
    incoming.bytes = g->storage->bytes;
    part.gradient = static_cast<int>(program_->values.size());
    old_values_[g->storage.get()] = part.gradient;
    program_->values.push_back(std::move(incoming));
    arguments_.push_back(g);
    part.begin = program_->instructions.size();
    const Tensor roots[] = {y}, gradients[] = {g};
    const std::vector<Tensor> found = backward(roots, gradients, true, false, part.leaves, true);
    part.end = program_->instructions.size();
    for (const Tensor& t : found) {
      part.results.push_back(t ? slot_of(t) : -1);
      if (!t) continue;
      Value& v = program_->values[program_->value_of(part.results.back())];
      if (v.kind == Value::Kind::Internal && v.home == Value::Home::Arena) v.home = Value::Home::Result;
    }
    program_->parts.push_back(std::move(part));
  }
  for (BackwardPart& part : program_->parts) {
    for (size_t i = 0; i < part.leaves.size(); ++i) {
      if (part.arguments[i] >= 0) part.leaves[i] = Tensor();
    }
  }
}

// Each output with a backward pass gets a node whose inputs are the leaves.
void Program::attach_graph(std::vector<Tensor>& made, std::span<const Tensor> given) {
  for (size_t p = 0; p < parts.size(); ++p) {
    const BackwardPart& part = parts[p];
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < part.leaves.size(); ++i) {
      inputs.push_back(part.arguments[i] < 0 ? part.leaves[i] : given[static_cast<size_t>(part.arguments[i])]);
    }
    record({kReplayed, inputs, no_attrs()}, std::span(&made[static_cast<size_t>(part.output)], 1));
    auto run = std::make_shared<Pending>();
    run->program = shared_from_this();
    run->part = static_cast<int>(p);
    run->arguments.reserve(given.size());
    for (const Tensor& t : given) run->arguments.push_back(t.detach());
    run->arena = arena_;
    run->outputs = made_;
    for (size_t i = part.begin; i < part.end; ++i) {
      for (int s : instructions[i].in) {
        const Value& v = values[value_of(s)];
        Ref<Storage> read;
        if (v.kind == Value::Kind::State) read = v.source->storage;
        if (v.kind == Value::Kind::Argument && static_cast<size_t>(v.argument) < given.size())
          read = given[static_cast<size_t>(v.argument)]->storage;
        if (v.kind == Value::Kind::Internal && v.home == Value::Home::Output) read = storage_of(v, given);
        if (read) run->versions.emplace_back(read, read->version);
      }
    }
    node_of(made[static_cast<size_t>(part.output)]).get_extras().run = std::move(run);
  }
}

std::vector<Tensor> Program::replay_backward(const Pending& run, const Tensor& gradient) {
  const std::unique_lock held = lock();
  for (const auto& [storage, version] : run.versions) {
    if (storage->version != version) {
      throw std::runtime_error(
          "compile: a tensor that the compiled function read or returned, needed for the gradient, was modified in "
          "place after the call; call backward() before, or modify a clone()");
    }
  }
  const BackwardPart& part = parts[static_cast<size_t>(run.part)];
  const Ref<Storage> before = arena_;
  bind_arena(run.arena);
  bind_arguments(run.arguments);
  for (size_t i = 0; i < outputs_.size(); ++i) bind(outputs_[i], run.outputs[i]->data);
  const Tensor g = ops::contiguous(gradient);
  bind(part.gradient, g.data<char>());
  std::vector<std::pair<int, Ref<Storage>>> made;  // of the results
  for (int s : part.results) {
    if (s < 0) continue;
    const int value = slots[static_cast<size_t>(s)].value;
    if (values[static_cast<size_t>(value)].home != Value::Home::Result) continue;
    if (std::any_of(made.begin(), made.end(), [&](const auto& m) { return m.first == value; })) continue;
    made.emplace_back(value, Storage::make(values[static_cast<size_t>(value)].bytes));
    bind(value, made.back().second->data);
  }
  {
    GilRelease released(releases_gil_);
    run_steps(part.begin, part.end, releases_gil_ ? &released : nullptr);
  }
  std::vector<Tensor> found;
  for (int s : part.results) {
    if (s < 0) {
      found.emplace_back();
      continue;
    }
    const Slot& slot = slots[static_cast<size_t>(s)];
    const Tensor view(Ref<TensorImpl>(new TensorImpl(slot.tensor.shape(), slot.tensor.strides(), slot.tensor.dtype())));
    view->data = slot.tensor->data;
    const auto own = std::find_if(made.begin(), made.end(), [&](const auto& m) { return m.first == slot.value; });
    view->storage = own != made.end() ? own->second : slot.tensor->storage;
    found.push_back(own != made.end() ? view : ops::clone(view));
  }
  bind_arena(before);
  return found;
}

}  // namespace tg
