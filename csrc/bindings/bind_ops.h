// Functions and methods generated from ops.def.
#pragma once
#include <pybind11/pybind11.h>

#include <vector>

namespace tg {

std::vector<PyMethodDef> op_methods();         // for the Tensor type; lives as long as the process
void bind_op_functions(pybind11::module_& m);  // functions of the module, and op_names()

}  // namespace tg
