// The base of nn.Module: calling an instance calls its forward().
#include "bindings/bindings.h"
#include "bindings/used_objects.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

PyObject* forward = nullptr;  // the name

// In C++ the usual call, of positional arguments, needs no tuple, no dict and no Python frame of its own.
PyObject* call(PyObject* self, PyObject* args, PyObject* keywords) {
  if (recorder) [[unlikely]]
    note_use(self);
  constexpr Py_ssize_t kMost = 6;
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (n > kMost || (keywords && PyDict_GET_SIZE(keywords))) {
    const auto method = py::reinterpret_steal<py::object>(PyObject_GetAttr(self, forward));
    return method ? PyObject_Call(method.ptr(), args, keywords) : nullptr;
  }
  PyObject* values[1 + kMost] = {self};
  for (Py_ssize_t i = 0; i < n; ++i) values[1 + i] = PyTuple_GET_ITEM(args, i);
  return PyObject_VectorcallMethod(forward, values, static_cast<size_t>(1 + n), nullptr);
}

}  // namespace

void create_module_base(py::module_& m) {
  static PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(call)},
                                {Py_tp_doc, const_cast<char*>("Calling an instance calls its forward().")},
                                {0, nullptr}};
  static PyType_Spec spec = {"tapegrad._core._ModuleBase", sizeof(PyObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  forward = PyUnicode_InternFromString("forward");
  m.attr("_ModuleBase") = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
}

}  // namespace tg
