// Methods, attributes and indexing of the Tensor type that are not ops.
#pragma once
#include <pybind11/pybind11.h>

#include <vector>

namespace tg {

std::vector<PyMethodDef> tensor_methods();
std::vector<PyMethodDef> conversion_methods();  // to Python, NumPy, DLPack, other dtypes
std::vector<PyMethodDef> create_methods();      // new_zeros() and others
std::vector<PyMethodDef> random_methods();      // fills
PyGetSetDef* tensor_getset();

Py_ssize_t tensor_length(PyObject* self);
PyObject* tensor_iter(PyObject* self);
PyObject* tensor_getitem(PyObject* self, PyObject* key);
int tensor_setitem(PyObject* self, PyObject* key, PyObject* value);  // value null: deletion, an error
int tensor_contains(PyObject* self, PyObject* value);

}  // namespace tg
