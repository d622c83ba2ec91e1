// The nodes of Python Functions (python/tapegrad/_function.py), and recomputed stretches of the forward pass.
#include <map>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/python_graph.h"
#include "tape/checkpoint.h"
#include "tape/recorder.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

// What ctx.save_for_backward() was given.
struct SavedTensors {
  struct Entry {
    Saved saved;      // an empty tensor: None
    int output = -1;  // which output of the Function it is: kept without its graph, so that there is no cycle
  };
  std::string function;
  std::vector<Entry> entries;
  Node* node = nullptr;  // in whose backward() this is; null: in none

  SavedTensors(std::string name, const py::sequence& tensors, const py::sequence& outputs) : function(std::move(name)) {
    for (const py::handle item : tensors) {
      Entry e;
      if (!item.is_none()) {
        const Tensor& t = unwrap(item.ptr());
        for (size_t k = 0; k < outputs.size(); ++k) {
          if (outputs[k].ptr() == item.ptr()) e.output = static_cast<int>(k);
        }
        e.saved = {e.output < 0 ? t : t.detach(), t->storage->version, t->layout};
        if (e.output >= 0) e.saved.layout = 0;
        t->storage->taped = true;
      }
      entries.push_back(std::move(e));
    }
  }

  py::tuple unpack() const {
    py::tuple out(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      const Entry& e = entries[i];
      if (!e.saved.tensor) {
        out[i] = py::none();
        continue;
      }
      Tensor t = check_saved(function.c_str(), e.saved, "saved tensor");
      if (e.output >= 0 && node && grad_enabled()) {
        t = t.detach();
        t->grad_fn = Ref<GraphNode>(node);
        t->output = static_cast<uint16_t>(e.output);
      }
      out[i] = t;
    }
    return out;
  }
};

// What a Function's node holds.
struct FunctionRun {
  py::object ctx;
  std::shared_ptr<SavedTensors> saved;
};

class InBackward {  // scoped
 public:
  InBackward(SavedTensors& saved, Node* node) : saved_(saved), before_(std::exchange(saved.node, node)) {}
  ~InBackward() { saved_.node = before_; }
  InBackward(const InBackward&) = delete;

 private:
  SavedTensors& saved_;
  Node* before_;
};

void function_vjp(Backward& b) {
  const auto run = std::static_pointer_cast<FunctionRun>(b.run());
  const InBackward scope(*run->saved, &b.node);
  py::list gradients;
  gradients.append(b.g);
  for (size_t i = 0; i < b.node.extras->outputs.size(); ++i) {
    gradients.append(i < b.other.size() ? b.other[i] : Tensor());
  }
  py::list needed;
  for (int i = 0; i < b.node.inputs; ++i) needed.append(b.needs(i));
  const py::list found = run->ctx.attr("_run_backward")(gradients, needed);
  for (int i = 0; i < b.node.inputs; ++i) {
    const py::object g = found[static_cast<size_t>(i)];
    if (!g.is_none()) b.set(i, unwrap(g.ptr()));
  }
}

// One Op for each name: a node refers to it for as long as it lives.
const Op& function_op(const std::string& name) {
  static auto* const ops = new std::map<std::string, Op>;
  const auto [found, fresh] = ops->try_emplace(name);
  if (fresh) found->second = {.name = found->first.c_str(), .vjp = function_vjp};
  return found->second;
}

// Puts a Function that has run on the tape: `inputs` are its tensor arguments, `outputs` its differentiable results.
void record_function(const py::object& ctx, const std::string& name, const ops::TensorList& inputs,
                     const ops::TensorList& outputs, const std::shared_ptr<SavedTensors>& saved) {
  if (outputs.empty()) return;
  if (outputs.size() > 0xffff) throw std::invalid_argument(name + ": a Function has at most 65535 outputs");
  if (recorder) recorder->refuse(name + ".apply() runs Python code in backward()");
  Ref<GraphNode> ref = new_node({function_op(name), inputs, no_attrs()}, outputs[0]);
  Node& node = static_cast<Node&>(*ref);
  node.holds_python = true;
  NodeExtras& extras = node.get_extras();
  for (size_t i = 1; i < outputs.size(); ++i) extras.outputs.push_back({outputs[i].shape(), outputs[i].dtype()});
  if (!node_watch || node_watch->saves(node)) {
    extras.run = std::make_shared<FunctionRun>(FunctionRun{ctx, saved});
    extras.keeps_run = saved->entries.empty();
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const bool retained = retains_grad(outputs[i]);
    outputs[i]->grad_fn = ref;
    outputs[i]->output = static_cast<uint16_t>(i);
    outputs[i]->requires_grad = false;
    if (retained) retain_grad(outputs[i]);
    if (outputs[i]->py_object) track(static_cast<PyObject*>(outputs[i]->py_object));
  }
}

// Before a Function writes to an input that it has marked dirty.
void check_dirty(const std::string& name, const Tensor& t) {
  if (t->requires_grad) {
    throw std::runtime_error(name + ": a leaf tensor that requires grad (" + describe(t) +
                             ") cannot be modified in place (mark_dirty)");
  }
}

// The result of function(), whose nodes save nothing: `again` runs it once more when a gradient needs them.
py::object run_checkpointed(const py::function& function, const py::function& again) {
  if (recorder) return function();  // a captured program plans its memory itself
  const auto checkpoint = std::make_shared<Checkpoint>([again] { again(); });
  const NodeWatchScope watched(checkpoint.get());
  return function();
}

}  // namespace

PyObject* function_context(const Node& node) {
  if (node.op->vjp != function_vjp || node.extras->run.use_count() != 1) return nullptr;
  return static_cast<const FunctionRun*>(node.extras->run.get())->ctx.ptr();
}

void bind_function(py::module_& m) {
  py::class_<SavedTensors, std::shared_ptr<SavedTensors>>(m, "_SavedTensors", "What a Function saved for backward().")
      .def(py::init<std::string, const py::sequence&, const py::sequence&>(), "name"_a, "tensors"_a, "outputs"_a)
      .def("unpack", &SavedTensors::unpack, "The tensors, checked for writes since they were saved.");
  m.def(
      "_record_function",
      [](const py::object& ctx, const std::string& name, const py::sequence& inputs, const py::sequence& outputs,
         const std::shared_ptr<SavedTensors>& saved) {
        const auto list = [&](const py::sequence& s) {
          return FromPython<ops::TensorList>::convert({name.c_str(), "tensors", s.ptr()});
        };
        record_function(ctx, name, list(inputs), list(outputs), saved);
      },
      "ctx"_a, "name"_a, "inputs"_a, "outputs"_a, "saved"_a, "Puts a Function that has run on the tape.");
  m.def("_check_dirty", &check_dirty, "name"_a, "tensor"_a, "Refuses a leaf that a Function has written to.");
  m.def("_run_checkpointed", &run_checkpointed, "function"_a, "again"_a,
        "function(), whose recorded operations save nothing: again() runs it once more when a gradient needs them.");
}

}  // namespace tg
