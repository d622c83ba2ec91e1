// tapegrad.Size, the type of Tensor.shape: a tuple of sizes whose slices and sums are Sizes too.
#include "bindings/bindings.h"
#include "bindings/convert.h"

namespace py = pybind11;

namespace tg {
namespace {

PyTypeObject* size_type = nullptr;

// Takes over a plain tuple; null passes through.
PyObject* as_size(PyObject* tuple) {
  if (!tuple) return nullptr;
  const Py_ssize_t n = PyTuple_GET_SIZE(tuple);
  PyObject* const size = size_type->tp_alloc(size_type, n);
  for (Py_ssize_t i = 0; size && i < n; ++i) PyTuple_SET_ITEM(size, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
  Py_DECREF(tuple);
  return size;
}

PyObject* subscript(PyObject* self, PyObject* key) {
  PyObject* const part = PyTuple_Type.tp_as_mapping->mp_subscript(self, key);
  return PySlice_Check(key) ? as_size(part) : part;
}

PyObject* concatenate(PyObject* self, PyObject* other) {
  const auto more = py::reinterpret_steal<py::object>(PySequence_Tuple(other));
  return more ? as_size(PyTuple_Type.tp_as_sequence->sq_concat(self, more.ptr())) : nullptr;
}

PyObject* represent(PyObject* self) {
  const auto list = py::reinterpret_steal<py::object>(PySequence_List(self));
  return list ? PyUnicode_FromFormat("tapegrad.Size(%R)", list.ptr()) : nullptr;
}

PyObject* numel(PyObject* self, PyObject*) {
  return guarded(static_cast<PyObject*>(nullptr), [&] { return PyLong_FromLongLong(checked_numel(to_dims(self))); });
}

}  // namespace

void create_size_type(py::module_& m) {
  static PyMethodDef methods[] = {{"numel", numel, METH_NOARGS, "numel($self)\n--\n\nThe product of the sizes."}, {}};
  static PyType_Slot slots[] = {{Py_mp_subscript, reinterpret_cast<void*>(subscript)},
                                {Py_sq_concat, reinterpret_cast<void*>(concatenate)},
                                {Py_tp_repr, reinterpret_cast<void*>(represent)},
                                {Py_tp_methods, methods},
                                {Py_tp_doc, const_cast<char*>("A tuple of dimension sizes.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"tapegrad.Size", static_cast<int>(PyTuple_Type.tp_basicsize),
                             static_cast<int>(PyTuple_Type.tp_itemsize), Py_TPFLAGS_DEFAULT, slots};
  const py::tuple bases = py::make_tuple(py::handle(reinterpret_cast<PyObject*>(&PyTuple_Type)));
  size_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&spec, bases.ptr()));
  if (!size_type) throw py::error_already_set();
  m.attr("Size") = py::handle(reinterpret_cast<PyObject*>(size_type));
}

bool is_size(PyObject* o) { return Py_TYPE(o) == size_type; }

py::object size_object(const Dims& d) {
  auto size = py::reinterpret_steal<py::object>(size_type->tp_alloc(size_type, d.size()));
  if (!size) throw py::error_already_set();
  for (int i = 0; i < d.size(); ++i) {
    PyObject* const item = PyLong_FromLongLong(d[i]);
    if (!item) throw py::error_already_set();
    PyTuple_SET_ITEM(size.ptr(), i, item);
  }
  return size;
}

}  // namespace tg
