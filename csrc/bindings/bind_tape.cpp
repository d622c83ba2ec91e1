// Gradient modes, autograd.grad, and Parameter's constructor.
#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "bindings/python_graph.h"
#include "bindings/source_line.h"
#include "tape/anomaly.h"
#include "tape/reach.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

ops::TensorList tensor_list(const char* op, const py::object& o, const char* what) {
  if (is_tensor(o.ptr())) return {unwrap(o.ptr())};
  if (!PySequence_Check(o.ptr())) return FromPython<ops::TensorList>::convert({op, what, py::list(o).ptr()});
  return FromPython<ops::TensorList>::convert({op, what, o.ptr()});
}

// The gradients that the sweep begins with; ones for outputs of one element where none is given.
Tensor initial_gradient(const char* op, const Tensor& y, const Tensor& g, const char* argument) {
  if (g && g.shape() == y.shape() && g.dtype() == y.dtype()) return g;
  if (g) {
    throw std::runtime_error(std::string(op) + ": the gradient " + describe(g) + " does not match the tensor " +
                             describe(y));
  }
  if (y.numel() != 1) {
    throw std::runtime_error(std::string(op) + ": a gradient can be made up only for a tensor of one element, got " +
                             "shape " + to_string(y.shape()) + "; pass " + argument +
                             "=, or reduce with sum() or mean()");
  }
  return y.requires_grad() ? ops::full(y.shape(), Tensor::number(1.0), y.dtype()) : Tensor();
}

std::vector<Tensor> initial_gradients(const char* op, const ops::TensorList& outputs, const py::object& given,
                                      const char* argument) {
  py::list list;
  if (is_tensor(given.ptr()))
    list.append(given);
  else if (PyList_Check(given.ptr()) || PyTuple_Check(given.ptr()))
    list = py::list(given);
  else if (!given.is_none())
    throw TypeError(std::string(op) + ": " + argument + " must be tensors or None, got " +
                    Py_TYPE(given.ptr())->tp_name);
  if (list.size() != 0 && list.size() != outputs.size()) {
    throw std::invalid_argument(std::string(op) + ": " + std::to_string(outputs.size()) + " tensors but " +
                                std::to_string(list.size()) + " in " + argument);
  }
  std::vector<Tensor> gradients;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& y = outputs[i];
    Tensor g;
    if (i < list.size() && !py::handle(list[i]).is_none()) {
      if (!is_tensor(py::handle(list[i]).ptr())) {
        throw TypeError(std::string(op) + ": " + argument + " must be tensors or None, got " +
                        Py_TYPE(py::handle(list[i]).ptr())->tp_name);
      }
      g = unwrap(py::handle(list[i]).ptr());
    }
    gradients.push_back(initial_gradient(op, y, g, argument));
  }
  return gradients;
}

void check_inputs(const char* op, const ops::TensorList& xs) {
  if (xs.empty()) throw std::invalid_argument(std::string(op) + ": expected at least one input");
  for (const Tensor& x : xs) {
    if (x.requires_grad()) continue;
    throw std::runtime_error(std::string(op) + ": the input " + describe(x) + " does not require grad");
  }
}

py::tuple grad(const py::object& outputs, const py::object& inputs, const py::object& grad_outputs,
               std::optional<bool> retain_graph, bool create_graph, bool only_inputs, std::optional<bool> allow_unused,
               bool is_grads_batched, bool materialize_grads) {
  if (!only_inputs) {
    throw std::invalid_argument("grad: only_inputs=False is not supported; backward() fills the .grad of all leaves");
  }
  if (is_grads_batched) {
    throw std::invalid_argument("grad: is_grads_batched is not supported; use func.jacrev, or func.vmap over func.vjp");
  }
  if (materialize_grads && !allow_unused.value_or(true)) {
    throw std::invalid_argument(
        "grad: materialize_grads=True gives zeros for what is unused, and allow_unused=False "
        "refuses it; pass one of them");
  }
  const ops::TensorList ys = tensor_list("grad", outputs, "outputs"), xs = tensor_list("grad", inputs, "inputs");
  check_inputs("grad", xs);
  const std::vector<Tensor> gradients = initial_gradients("grad", ys, grad_outputs, "grad_outputs");
  const std::vector<Tensor> found = backward(ys, gradients, retain_graph.value_or(create_graph), create_graph, xs);
  py::tuple out(xs.size());
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!found[i] && !allow_unused.value_or(materialize_grads)) {
      throw std::runtime_error("grad: the input " + describe(xs[i]) + " (number " + std::to_string(i) +
                               ") was not used to compute the outputs; pass allow_unused=True to get None for it");
    }
    if (found[i])
      out[i] = found[i];
    else
      out[i] = materialize_grads ? py::cast(ops::zero_(Tensor::empty(xs[i].shape(), xs[i].dtype()))) : py::none();
  }
  return out;
}

}  // namespace

void run_backward(const char* op, const py::object& tensors, const py::object& gradients, const char* argument,
                  std::optional<bool> retain_graph, bool create_graph, const py::object& inputs) {
  const bool retain = retain_graph.value_or(create_graph);
  if (is_tensor(tensors.ptr()) && inputs.is_none() && (gradients.is_none() || is_tensor(gradients.ptr()))) {  // often
    const Tensor& y = unwrap(tensors.ptr());
    const Tensor given = gradients.is_none() ? Tensor() : unwrap(gradients.ptr());
    const Tensor g = initial_gradient(op, y, given, argument);
    backward({&y, 1}, {&g, 1}, retain, create_graph);
    return;
  }
  const ops::TensorList ys = tensor_list(op, tensors, "tensors");
  const std::vector<Tensor> initial = initial_gradients(op, ys, gradients, argument);
  if (inputs.is_none()) {
    backward(ys, initial, retain, create_graph);
    return;
  }
  const ops::TensorList xs = tensor_list(op, inputs, "inputs");
  check_inputs(op, xs);
  std::vector<Tensor> found = backward(ys, initial, retain, create_graph, xs);
  const GradMode mode(create_graph);
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!found[i]) continue;
    accumulate(xs[i].ref(), std::move(found[i]), create_graph);
    const GradientExtras* extras = find_extras(xs[i].impl());
    if (!extras || !extras->after) continue;
    const Hooks hooks = extras->after;
    hooks->run(xs[i]);
  }
}

namespace {

struct set_inference_mode {
  static constexpr const char *name = "_set_inference_mode", *params = "mode";
  static bool run(bool mode) {
    const bool before = inference_mode;
    inference_mode = mode;
    return before;
  }
  static constexpr auto fn = &run;
};

struct set_grad_mode {
  static constexpr const char *name = "_set_grad_enabled", *params = "mode";
  static bool run(bool mode) {
    const bool before = grad_enabled();
    set_grad_enabled(mode);
    return before;
  }
  static constexpr auto fn = &run;
};

}  // namespace

void bind_tape(py::module_& m) {
  m.def("is_grad_enabled", &grad_enabled, "True where operations are recorded in this thread.");
  add_functions(m, {function<set_grad_mode>("Sets whether operations are recorded; returns whether they were."),
                    function<set_inference_mode>("Sets whether recording is out of reach; returns whether it was.")});
  bind_hooks(m);
  bind_function(m);
  bind_batched(m);
  m.def("grad", &grad, "outputs"_a, "inputs"_a, "grad_outputs"_a = py::none(), "retain_graph"_a = py::none(),
        "create_graph"_a = false, "only_inputs"_a = true, "allow_unused"_a = py::none(), "is_grads_batched"_a = false,
        "materialize_grads"_a = false,
        "Gradients of the outputs with respect to the inputs, without touching any .grad; a tuple.\n\n"
        "grad_outputs: gradients of the outputs, in their shapes; needed unless an output has one element. "
        "retain_graph: keep what the graph saved, for another call (as create_graph if not given). create_graph: the "
        "results can be differentiated again. only_inputs: accepted where True. allow_unused: None for inputs that the "
        "outputs do not depend on, instead "
        "of RuntimeError; materialize_grads: zeros for them.");
  m.def(
      "_backward",
      [](const py::object& tensors, const py::object& grad_tensors, std::optional<bool> retain_graph, bool create_graph,
         const py::object& inputs) {
        run_backward("backward", tensors, grad_tensors, "grad_tensors", retain_graph, create_graph, inputs);
      },
      "tensors"_a, "grad_tensors"_a, "retain_graph"_a, "create_graph"_a, "inputs"_a,
      "Adds gradients to the .grad of leaves, in one sweep.");
  m.def(
      "_reaches_other_leaves",
      [](const py::object& roots, const py::object& inputs) {
        return reaches_other_leaves(tensor_list("grad", roots, "roots"), tensor_list("grad", inputs, "inputs"));
      },
      "roots"_a, "inputs"_a, "Whether the roots depend on leaves that are none of the inputs, nor behind them.");
  m.def("is_inference_mode_enabled", [] { return inference_mode; }, "True inside of inference_mode() in this thread.");
  m.def("is_anomaly_enabled", [] { return anomaly_mode; }, "True while nan is looked for behind every operation.");
  m.def(
      "_set_anomaly",
      [](bool mode, std::string package) {
        static auto* const folder = new std::string;
        *folder = std::move(package);
        anomaly_line = [] {
          const SourceLine where = user_line(*folder);
          return where.file.empty() ? std::string() : where.file + ":" + std::to_string(where.line);
        };
        anomaly_mode = mode;
      },
      "mode"_a, "package"_a, "Looks for nan behind every operation, or no longer.");
  m.def(
      "_make_subclass",
      [](const py::type& cls, const Tensor& data, bool requires_grad) {
        if (!data) throw TypeError("_make_subclass: expected a tensor, got None");
        auto* type = reinterpret_cast<PyTypeObject*>(cls.ptr());
        if (!PyType_IsSubtype(type, tensor_type())) {
          throw TypeError(std::string("_make_subclass: expected a subclass of Tensor, got ") + type->tp_name);
        }
        if (requires_grad && !is_float(data.dtype())) {
          throw std::runtime_error("only float tensors can require grad, got " + describe(data));
        }
        const Tensor t = data.detach();
        t->requires_grad = requires_grad;
        return py::reinterpret_steal<py::object>(wrap(t, type));
      },
      "cls"_a, "data"_a, "requires_grad"_a = false, "The data of a tensor as an instance of a Tensor subclass.");
}

}  // namespace tg
