// The buffer protocol of tensors: memoryview(t) and whatever reads buffers.
#pragma once
#include <pybind11/pybind11.h>

namespace tg {

int tensor_get_buffer(PyObject* self, Py_buffer* view, int flags);
void tensor_release_buffer(PyObject* self, Py_buffer* view);

}  // namespace tg
