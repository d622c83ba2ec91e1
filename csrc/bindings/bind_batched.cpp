// The way from a failed call to the batched tensors of func.vmap: calls on plain tensors never come here.
#include "bindings/arg_parser.h"
#include "bindings/python_graph.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

PyTypeObject* batched_type = nullptr;
PyObject* call = nullptr;  // call(name, args, kwargs)

bool is_batched(PyObject* o) {
  if (PyObject_TypeCheck(o, batched_type)) return true;
  if (PyTuple_Check(o) || PyList_Check(o)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
      if (is_batched(PySequence_Fast_GET_ITEM(o, i))) return true;
    }
  }
  return false;
}

}  // namespace

PyObject* call_batched(const char* op, PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  if (!batched_type || !(PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_IndexError))) {
    return nullptr;
  }
  bool found = false;
  const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t i = 0; i < n + named; ++i) found |= is_batched(args[i]);
  if (!found) return nullptr;
  PyErr_Clear();
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    py::list positional;
    if (self) positional.append(py::handle(self));
    for (Py_ssize_t i = 0; i < n; ++i) positional.append(py::handle(args[i]));
    py::dict rest;
    for (Py_ssize_t i = 0; i < named; ++i) rest[PyTuple_GET_ITEM(keywords, i)] = py::handle(args[n + i]);
    return py::handle(call)(op, py::tuple(positional), rest).release().ptr();
  });
}

void bind_batched(py::module_& m) {
  m.def(
      "_set_batched",
      [](const py::type& type, const py::function& function) {
        batched_type = reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());
        call = function.inc_ref().ptr();
      },
      "cls"_a, "call"_a, "Operations that meet an instance of the class are answered by call(name, args, kwargs).");
  m.def(
      "_elementwise_names",
      [] {
        py::list names;
#define UNARY(NAME, ...) names.append(#NAME);
#define BINARY(NAME, ...) names.append(#NAME);
#define COMPARE(NAME, ...) names.append(#NAME);
#include "ops/ops.def"
        return names;
      },
      "Names of the ops that work element by element, with operands that broadcast.");
}

}  // namespace tg
