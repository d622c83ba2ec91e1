// Gradient modes, autograd.grad, optimizer steps, and Parameter's constructor.
#include "bindings/bindings.h"
#include "bindings/convert.h"

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

void bind_optim(py::module_& m) {
  m.def(
      "sgd_step_",
      [](const py::object& params, const py::object& grads, const py::object& bufs, double lr, double momentum,
         double dampening, double weight_decay, bool nesterov, bool maximize, bool first) {
        const auto list = [](const py::object& o) {
          return FromPython<ops::TensorList>::convert({"sgd_step_", "tensors", o.ptr()});
        };
        ops::sgd_step_(list(params), list(grads), list(bufs),
                       {lr, momentum, dampening, weight_decay, nesterov, maximize, first});
      },
      "params"_a, "grads"_a, "bufs"_a, py::kw_only(), "lr"_a, "momentum"_a = 0.0, "dampening"_a = 0.0,
      "weight_decay"_a = 0.0, "nesterov"_a = false, "maximize"_a = false, "first"_a = false,
      "One SGD step over lists of tensors, in place. bufs is empty without momentum; `first` sets the buffers.");
  m.def(
      "adam_step_",
      [](const py::object& params, const py::object& grads, const py::object& exp_avgs, const py::object& exp_avg_sqs,
         double step, double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled,
         bool maximize) {
        const auto list = [](const py::object& o) {
          return FromPython<ops::TensorList>::convert({"adam_step_", "tensors", o.ptr()});
        };
        ops::adam_step_(list(params), list(grads), list(exp_avgs), list(exp_avg_sqs),
                        {step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize});
      },
      "params"_a, "grads"_a, "exp_avgs"_a, "exp_avg_sqs"_a, py::kw_only(), "step"_a, "lr"_a, "beta1"_a = 0.9,
      "beta2"_a = 0.999, "eps"_a = 1e-8, "weight_decay"_a = 0.0, "decoupled"_a = false, "maximize"_a = false,
      "One Adam step (Kingma and Ba 2015) over lists of tensors, in place; `step` is 1 for the first.");
}

}  // namespace

void bind_tape(py::module_& m) {
  m.def("is_grad_enabled", &grad_enabled, "True where operations are recorded in this thread.");
  m.def("_set_grad_enabled", &set_grad_enabled, "mode"_a);
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
  bind_optim(m);
}

}  // namespace tg
