// NumPy arrays to tensors and back, without copying where memory allows.
#pragma once
#include <pybind11/pybind11.h>

#include "tensor/tensor.h"

namespace tg {

DType dtype_of_numpy(pybind11::handle dtype_like);       // TypeError for dtypes without a tensor counterpart
Tensor tensor_from_numpy(pybind11::handle array);        // shares memory; copies where layout or byte order forces it
Tensor tensor_from_numpy_value(pybind11::handle value);  // an array or NumPy scalar as an operand: shared, or 0-d
pybind11::object numpy_from_tensor(const Tensor& t);     // shares memory, and holds it
// A tensor on memory that `owner` keeps alive.
Tensor borrow_memory(void* data, size_t bytes, bool read_only, const Dims& shape, const Dims& strides, DType dtype,
                     pybind11::object owner);
void bind_numpy(pybind11::module_& m);

}  // namespace tg
