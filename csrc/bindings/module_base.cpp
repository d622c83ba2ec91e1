// The base of nn.Module: calling an instance calls its forward(), with hooks around it where there are some.
#include "bindings/bindings.h"
#include "bindings/errors.h"
#include "bindings/used_objects.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

PyObject *forward = nullptr, *hooks = nullptr;  // names
// Python functions: call_with_hooks(module, args, keywords), null until there is a hook; on_error(module, exception).
PyObject *call_with_hooks = nullptr, *on_error = nullptr;

bool has_hooks(PyObject* self) {
  const auto attributes = py::reinterpret_steal<py::object>(PyObject_GenericGetDict(self, nullptr));
  PyObject* found = attributes ? PyDict_GetItemWithError(attributes.ptr(), hooks) : nullptr;
  return found && PyObject_Size(found) > 0;
}

PyObject* call_hooked(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    if (recorder) recorder->refuse(std::string("a hook of a ") + Py_TYPE(self)->tp_name + " is called");
    return PyObject_CallFunctionObjArgs(call_with_hooks, self, args, keywords ? keywords : Py_None, nullptr);
  });
}

// In C++ the usual call, of positional arguments, needs no tuple, no dict and no Python frame of its own.
PyObject* call_forward(PyObject* self, PyObject* args, PyObject* keywords) {
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

// What an exception says of where it arose is up to Python.
void tell_error(PyObject* self) {
  py::error_already_set error;
  const auto done =
      py::reinterpret_steal<py::object>(PyObject_CallFunctionObjArgs(on_error, self, error.value().ptr(), nullptr));
  if (done) error.restore();
}

PyObject* call(PyObject* self, PyObject* args, PyObject* keywords) {
  if (recorder) [[unlikely]]
    note_use(self);
  const bool hooked = call_with_hooks && has_hooks(self);
  PyObject* const result = (hooked ? call_hooked : call_forward)(self, args, keywords);
  if (!result && on_error) [[unlikely]]
    tell_error(self);
  return result;
}

}  // namespace

void create_module_base(py::module_& m) {
  static PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(call)},
                                {Py_tp_doc, const_cast<char*>("Calling an instance calls its forward().")},
                                {0, nullptr}};
  static PyType_Spec spec = {"tapegrad._core._ModuleBase", sizeof(PyObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  forward = PyUnicode_InternFromString("forward");
  hooks = PyUnicode_InternFromString("_hooks");
  m.attr("_ModuleBase") = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  m.def(
      "_set_module_hooks", [](py::object function) { call_with_hooks = function.release().ptr(); }, py::arg("function"),
      "From now on function(module, args, keywords) calls modules whose _hooks are not empty.");
  m.def(
      "_set_module_error", [](py::object function) { on_error = function.release().ptr(); }, py::arg("function"),
      "From now on function(module, exception) is called for each module that an exception passes.");
}

}  // namespace tg
