// The Python type `Tensor`: a hand-written heap type around a Tensor handle, and its pybind11 caster.
#pragma once
#include <pybind11/pybind11.h>

#include "tensor/tensor.h"

namespace tg {

struct PyTensor {
  PyObject_HEAD PyObject* weakrefs;
  Tensor tensor;
  bool tracked;  // by the garbage collector: only where the tensor may refer to Python objects
};

namespace detail {
extern PyTypeObject* tensor_type;
}
inline PyTypeObject* tensor_type() { return detail::tensor_type; }
inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type() || PyObject_TypeCheck(o, tensor_type()); }
inline Tensor& unwrap(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->tensor; }
// New reference: the tensor's live wrapper, or a new one of class `cls` (a subclass of Tensor; null for Tensor itself).
PyObject* wrap(const Tensor& t, PyTypeObject* cls = nullptr);

void track(PyObject* tensor);  // it may refer to Python objects now

void create_tensor_type(pybind11::module_& m);  // after this, tensor_type() is set

}  // namespace tg

namespace pybind11::detail {
template <>
struct type_caster<tg::Tensor> {
  PYBIND11_TYPE_CASTER(tg::Tensor, const_name("Tensor"));
  bool load(handle src, bool) {
    if (src.is_none()) return true;  // an absent tensor
    if (!tg::is_tensor(src.ptr())) return false;
    value = tg::unwrap(src.ptr());
    return true;
  }
  static handle cast(const tg::Tensor& t, return_value_policy, handle) {
    if (!t) return none().release();
    return tg::wrap(t);
  }
};
}  // namespace pybind11::detail
