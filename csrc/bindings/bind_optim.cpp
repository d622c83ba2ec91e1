// Optimizer steps over lists of tensors, and what their Python side asks of its lists of parameters.
#include "bindings/arg_parser.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace tg {
namespace {

struct sgd_step_ {
  static constexpr const char *name = "sgd_step_",
                              *params =
                                  "params, grads, bufs, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, "
                                  "nesterov=False, maximize=False, first=False";
  static py::object run(const ops::TensorList& tensors, const ops::TensorList& grads, const ops::TensorList& bufs,
                        double lr, double momentum, double dampening, double weight_decay, bool nesterov, bool maximize,
                        bool first) {
    ops::sgd_step_(tensors, grads, bufs, {lr, momentum, dampening, weight_decay, nesterov, maximize, first});
    return py::none();
  }
  static constexpr auto fn = &run;
};

struct adam_step_ {
  static constexpr const char *name = "adam_step_",
                              *params =
                                  "params, grads, exp_avgs, exp_avg_sqs, *, step, lr, beta1=0.9, beta2=0.999, "
                                  "eps=1e-08, weight_decay=0.0, decoupled=False, maximize=False";
  static py::object run(const ops::TensorList& tensors, const ops::TensorList& grads, const ops::TensorList& exp_avgs,
                        const ops::TensorList& exp_avg_sqs, double step, double lr, double beta1, double beta2,
                        double eps, double weight_decay, bool decoupled, bool maximize) {
    ops::adam_step_(tensors, grads, exp_avgs, exp_avg_sqs,
                    {step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize});
    return py::none();
  }
  static constexpr auto fn = &run;
};

const Tensor& tensor_at(const py::list& list, Py_ssize_t i) {
  PyObject* const item = PyList_GET_ITEM(list.ptr(), i);
  if (!is_tensor(item)) throw TypeError("expected tensors");
  return unwrap(item);
}

struct with_gradients {
  static constexpr const char *name = "_with_gradients", *params = "params";
  static py::object run(const py::object& tensors) {
    py::list all(tensors), grads, having;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all.ptr()); ++i) {
      const Tensor& t = tensor_at(all, i);
      if (t->grad) grads.append(Tensor(t->grad));
    }
    if (grads.size() == all.size()) return py::make_tuple(all, grads);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all.ptr()); ++i) {
      if (tensor_at(all, i)->grad) having.append(py::handle(PyList_GET_ITEM(all.ptr(), i)));
    }
    return py::make_tuple(having, grads);
  }
  static constexpr auto fn = &run;
};

struct same_objects {
  static constexpr const char *name = "_same_objects", *params = "a, b";
  static bool run(const py::object& a, const py::object& b) {
    const py::list x(a), y(b);
    const Py_ssize_t n = PyList_GET_SIZE(x.ptr());
    return n == PyList_GET_SIZE(y.ptr()) &&
           std::equal(PySequence_Fast_ITEMS(x.ptr()), PySequence_Fast_ITEMS(x.ptr()) + n,
                      PySequence_Fast_ITEMS(y.ptr()));
  }
  static constexpr auto fn = &run;
};

}  // namespace

void bind_optim(py::module_& m) {
  add_functions(m,
                {function<sgd_step_>("One SGD step over lists of tensors, in place. bufs is empty without momentum; "
                                     "`first` sets the buffers."),
                 function<adam_step_>("One Adam step (Kingma and Ba 2015) over lists of tensors, in place; `step` is 1 "
                                      "for the first."),
                 function<with_gradients>("The tensors of a list that have a gradient, and their gradients: two lists, "
                                          "the first the given one where all have."),
                 function<same_objects>("Whether two lists hold the same objects in the same order.")});
}

}  // namespace tg
