// What a capture is told of modules and optimizers.
#pragma once
#include <pybind11/pybind11.h>

namespace tg {

void note_use(PyObject* object);  // it took part in the running capture, if there is one

}  // namespace tg
