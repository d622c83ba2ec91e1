// Gradient modes, autograd.grad, and Parameter's constructor.
#include "bindings/arg_parser.h"
#include "bindings/bindings.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

ops::TensorList tensor_list(const py::object& o, const char* what) {
  if (is_tensor(o.ptr())) return {unwrap(o.ptr())};
  return FromPython<ops::TensorList>::convert({"autograd.grad", what, o.ptr()});
}

std::vector<Tensor> initial_gradients(const ops::TensorList& outputs, const py::object& given) {
  py::list list;
  if (is_tensor(given.ptr()))
    list.append(given);
  else if (!given.is_none())
    list = py::list(given);
  if (list.size() != 0 && list.size() != outputs.size()) {
    throw std::invalid_argument("grad: " + std::to_string(outputs.size()) + " outputs but " +
                                std::to_string(list.size()) + " grad_outputs");
  }
  std::vector<Tensor> gradients;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& y = outputs[i];
    Tensor g = i < list.size() ? py::object(list[i]).cast<Tensor>() : Tensor();
    if (g && (!(g.shape() == y.shape()) || g.dtype() != y.dtype())) {
      throw std::runtime_error("grad: the gradient " + describe(g) + " does not match the output " + describe(y));
    }
    if (!g && y.numel() != 1) {
      throw std::runtime_error("grad: a gradient can be made up only for an output of one element, got shape " +
                               to_string(y.shape()) + "; pass grad_outputs=");
    }
    gradients.push_back(g ? g : ops::full(y.shape(), Tensor::number(1.0), y.dtype()));
  }
  return gradients;
}

py::tuple grad(const py::object& outputs, const py::object& inputs, const py::object& grad_outputs,
               std::optional<bool> retain_graph, bool create_graph, bool allow_unused) {
  const ops::TensorList ys = tensor_list(outputs, "outputs"), xs = tensor_list(inputs, "inputs");
  if (xs.empty()) throw std::invalid_argument("grad: expected at least one input");
  for (const Tensor& x : xs) {
    if (!x.requires_grad()) throw std::runtime_error("grad: the input " + describe(x) + " does not require grad");
  }
  const std::vector<Tensor> gradients = initial_gradients(ys, grad_outputs);
  const std::vector<Tensor> found = backward(ys, gradients, retain_graph.value_or(create_graph), create_graph, xs);
  py::tuple out(xs.size());
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!found[i] && !allow_unused) {
      throw std::runtime_error("grad: the input " + describe(xs[i]) + " (number " + std::to_string(i) +
                               ") was not used to compute the outputs; pass allow_unused=True to get None for it");
    }
    out[i] = found[i] ? py::cast(found[i]) : py::none();
  }
  return out;
}

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
  add_functions(m, {function<set_grad_mode>("Sets whether operations are recorded; returns whether they were.")});
  m.def("grad", &grad, "outputs"_a, "inputs"_a, "grad_outputs"_a = py::none(), "retain_graph"_a = py::none(),
        "create_graph"_a = false, "allow_unused"_a = false,
        "Gradients of the outputs with respect to the inputs, without touching any .grad; a tuple.");
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
