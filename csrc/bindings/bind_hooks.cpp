// Hooks on gradients, retained gradients, and what Python's garbage collector sees of a graph.
#include "bindings/arg_parser.h"
#include "bindings/python_graph.h"
#include "tape/owned.h"
#include "tape/recorder.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

// Takes one hook away again.
struct HookHandle {
  std::weak_ptr<HookList> list;
  int64_t id;
  void remove() {
    if (const Hooks hooks = list.lock()) hooks->remove(id);
  }
};

struct register_hook {
  static constexpr const char *name = "register_hook", *params = "self, hook";
  static py::object run(const py::object& self, const py::object& hook) {
    const Tensor& t = unwrap(self.ptr());
    if (!t.requires_grad()) {
      throw std::runtime_error("register_hook: " + describe(t) + " does not require grad, so it has no gradient");
    }
    Node* const node = static_cast<Node*>(t->grad_fn.get());
    if (node) node->holds_python = true;
    return add(self, hook, node ? node->get_extras().hooks : extras_of(t.impl()).before, t->output);
  }
  static py::object add(const py::object& self, const py::object& hook, Hooks& hooks, uint32_t output) {
    if (!PyCallable_Check(hook.ptr())) {
      throw TypeError(std::string("register_hook: expected a function, got ") + Py_TYPE(hook.ptr())->tp_name);
    }
    if (!hooks) hooks = std::make_shared<HookList>();
    track(self.ptr());
    return py::cast(HookHandle{hooks, hooks->add(std::make_shared<PyHook>(hook), output)});
  }
  static constexpr auto fn = &run;
};

struct register_post_accumulate_grad_hook {
  static constexpr const char *name = "register_post_accumulate_grad_hook", *params = "self, hook";
  static py::object run(const py::object& self, const py::object& hook) {
    const Tensor& t = unwrap(self.ptr());
    if (!t->requires_grad) {
      throw std::runtime_error("register_post_accumulate_grad_hook: only a leaf that requires grad accumulates one, " +
                               describe(t) +
                               (t->grad_fn ? " is no leaf; use register_hook()" : " does not require grad"));
    }
    return register_hook::add(self, hook, extras_of(t.impl()).after, 0);
  }
  static constexpr auto fn = &run;
};

struct retain_grad_method {
  static constexpr const char *name = "retain_grad", *params = "self";
  static py::object run(const Tensor& t) {
    retain_grad(t);
    return py::none();
  }
  static constexpr auto fn = &run;
};

struct detach_in_place {
  static constexpr const char *name = "detach_", *params = "self";
  static Tensor run(const Tensor& t) {
    t->extras.reset();
    t->grad_fn = {};
    t->output = 0;
    t->requires_grad = false;
    return t;
  }
  static constexpr auto fn = &run;
};

}  // namespace

Tensor PyHook::call(const Tensor& t) {
  const py::object result = function(t);
  if (result.is_none()) return {};
  if (!is_tensor(result.ptr())) {
    throw TypeError(std::string("a hook returns a tensor or None, got ") + Py_TYPE(result.ptr())->tp_name);
  }
  const Tensor& g = unwrap(result.ptr());
  if (!(g.shape() == t.shape()) || g.dtype() != t.dtype()) {
    throw std::runtime_error("a hook returned " + describe(g) + " for a gradient " + describe(t) +
                             "; shape and dtype must stay the same");
  }
  return g;
}

int visit_graph(const Tensor& t, visitproc visit, void* arg) {
  if (!t->extras && !t->grad_fn) return 0;
  const Owned owned = owned_by_holder_of(t);
  const auto hooks = [&](const Hooks& list) {
    if (!list || list.use_count() > 1) return 0;
    for (const HookList::Entry& e : list->entries) {
      if (e.hook.use_count() == 1) Py_VISIT(static_cast<PyHook&>(*e.hook).function.ptr());
    }
    return 0;
  };
  for (const GradientExtras* extras : owned.tensors) {
    if (const int stop = hooks(extras->before)) return stop;
    if (const int stop = hooks(extras->after)) return stop;
  }
  for (const Node* node : owned.nodes) {
    if (const int stop = hooks(node->extras->hooks)) return stop;
    Py_VISIT(function_context(*node));
  }
  return 0;
}

std::vector<PyMethodDef> gradient_methods() {
  return {
      define<register_hook>("Calls hook(gradient) whenever a gradient with respect to this tensor is computed; what it "
                            "returns, if not None, takes the gradient's place. Returns a handle with remove()."),
      define<register_post_accumulate_grad_hook>(
          "Calls hook(tensor) after the .grad of this leaf was added to. Returns a handle with remove()."),
      define<retain_grad_method>("Keeps the .grad of this tensor, which is no leaf, in backward()."),
      define<detach_in_place>("Takes the tensor out of the graph: it becomes a leaf that requires no grad."),
  };
}

void bind_hooks(py::module_& m) {
  py::class_<HookHandle>(m, "RemovableHandle", "Takes a hook away: remove(), or the end of a with block.")
      .def("remove", &HookHandle::remove, "Takes the hook away; once more does nothing.")
      .def_readonly("id", &HookHandle::id)
      .def("__enter__", [](const py::object& self) { return self; })
      .def("__exit__", [](HookHandle& self, const py::args&) { self.remove(); });
}

}  // namespace tg
