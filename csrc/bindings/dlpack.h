// DLPack, the exchange of tensors between libraries without a copy: https://dmlc.github.io/dlpack/latest
#pragma once
#include <pybind11/pybind11.h>

namespace tg {

PyMethodDef dlpack_method();         // Tensor.__dlpack__
PyMethodDef dlpack_device_method();  // Tensor.__dlpack_device__
void bind_dlpack(pybind11::module_& m);

}  // namespace tg
