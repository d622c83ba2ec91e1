// Python arguments to C++ values and back. from_python<T>() throws TypeError naming the parameter.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "bindings/errors.h"
#include "bindings/tensor_type.h"
#include "ops/ops.h"

namespace tg {

// A tensor, a number (which promotes as PyTorch's Python scalars do) or a NumPy array or scalar.
bool is_operand(PyObject* o);
Tensor to_operand(PyObject* o);
Tensor to_operand_beside(PyObject* o, PyObject* other);  // the same, where `other` is the op's other operand
Dims to_dims(PyObject* o);                               // an int or a sequence of ints
int64_t to_int64(PyObject* o);                           // anything with __index__, and 0-d integer tensors
double to_double(PyObject* o);
DType to_dtype(PyObject* o);                          // tg.float32, np.float32, np.dtype, float, int, bool
bool is_device(PyObject* o);                          // a str or tg.device
void check_device(const char* op, PyObject* device);  // None, "cpu" or tg.device("cpu"); ValueError for others
PyObject* dtype_object(DType t);                      // borrowed: the one tg.dtype instance
pybind11::object size_object(const Dims& d);          // tg.Size
bool is_size(PyObject* o);
// Nested lists and tuples of Python's own numbers, or one number; an empty tensor for other data.
Tensor tensor_from_nested(PyObject* data, ops::MaybeDType dtype);
pybind11::object nested_from_tensor(const Tensor& t);

struct Argument {
  const char* op;
  const char* name;
  PyObject* value;
  [[noreturn]] void fail(const char* expected) const {
    throw TypeError(std::string(op) + ": argument '" + name + "' must be " + expected + ", got " +
                    Py_TYPE(value)->tp_name);
  }
};

template <class T>
struct FromPython;

template <>
struct FromPython<Tensor> {
  static Tensor convert(const Argument& a) {
    if (a.value == Py_None) return {};
    if (!is_operand(a.value)) a.fail("a tensor");
    return to_operand(a.value);
  }
};
template <>
struct FromPython<int64_t> {
  static int64_t convert(const Argument& a) {
    if (!PyIndex_Check(a.value)) a.fail("an int");
    return to_int64(a.value);
  }
};
template <>
struct FromPython<double> {
  static double convert(const Argument& a) {
    if (!PyNumber_Check(a.value)) a.fail("a number");
    return to_double(a.value);
  }
};
template <>
struct FromPython<bool> {
  static bool convert(const Argument& a) {
    const int truth = PyObject_IsTrue(a.value);
    if (truth < 0) throw pybind11::error_already_set();
    return truth;
  }
};
template <>
struct FromPython<Dims> {
  static Dims convert(const Argument& a) {
    if (!PyIndex_Check(a.value) && !PySequence_Check(a.value)) a.fail("an int or a tuple of ints");
    return to_dims(a.value);
  }
};
template <>
struct FromPython<DType> {
  static DType convert(const Argument& a) { return to_dtype(a.value); }
};
template <>
struct FromPython<std::string> {
  static std::string convert(const Argument& a) {
    if (!PyUnicode_Check(a.value)) a.fail("a str");
    return pybind11::cast<std::string>(pybind11::handle(a.value));
  }
};
template <class T>
struct FromPython<std::optional<T>> {
  static std::optional<T> convert(const Argument& a) {
    if (a.value == Py_None) return std::nullopt;
    return FromPython<T>::convert(a);
  }
};
template <>
struct FromPython<ops::TensorList> {
  static ops::TensorList convert(const Argument& a) {
    if (is_tensor(a.value) || !PySequence_Check(a.value)) a.fail("a list or tuple of tensors");
    const auto items = pybind11::reinterpret_steal<pybind11::object>(PySequence_Fast(a.value, "expected a sequence"));
    if (!items) throw pybind11::error_already_set();
    ops::TensorList out;
    out.reserve(static_cast<size_t>(PySequence_Fast_GET_SIZE(items.ptr())));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(items.ptr(), i);
      if (!is_tensor(item)) Argument{a.op, a.name, item}.fail("a list or tuple of tensors");
      out.push_back(unwrap(item));
    }
    return out;
  }
};
template <>
struct FromPython<ops::DimOrOther> {
  static ops::DimOrOther convert(const Argument& a) {
    if (a.value == Py_None) return std::monostate{};
    if (is_tensor(a.value)) return unwrap(a.value);
    return FromPython<int64_t>::convert(a);
  }
};

template <>
struct FromPython<ops::OneOrMany> {
  static ops::OneOrMany convert(const Argument& a) {
    if (is_tensor(a.value)) return unwrap(a.value);
    return FromPython<ops::TensorList>::convert(a);
  }
};
template <>
struct FromPython<ops::IntList> {
  static ops::IntList convert(const Argument& a);
};
template <>
struct FromPython<ops::SizeOrSizes> {
  static ops::SizeOrSizes convert(const Argument& a);
};
template <>
struct FromPython<ops::TensordotDims> {
  static ops::TensordotDims convert(const Argument& a);
};
template <>
struct FromPython<ops::Einsum> {
  static ops::Einsum convert(const Argument& a);
};

template <>
struct FromPython<ops::Device> {
  static ops::Device convert(const Argument& a) {
    check_device(a.op, a.value);
    return {};
  }
};
template <>
struct FromPython<ops::MomentDims> {
  static ops::MomentDims convert(const Argument& a) {
    if (PyBool_Check(a.value)) return {{}, a.value == Py_True};
    return {FromPython<ops::MaybeDims>::convert(a), {}};
  }
};

template <>
struct FromPython<pybind11::object> {
  static pybind11::object convert(const Argument& a) { return pybind11::reinterpret_borrow<pybind11::object>(a.value); }
};

template <>
struct FromPython<ops::NormOrder> {
  static ops::NormOrder convert(const Argument& a) {
    if (a.value == Py_None) return std::monostate{};
    if (PyUnicode_Check(a.value)) return FromPython<std::string>::convert(a);
    return FromPython<double>::convert(a);
  }
};

inline PyObject* to_python(const Tensor& t) { return wrap(t); }
inline PyObject* to_python(pybind11::object o) { return o.release().ptr(); }
inline PyObject* to_python(int64_t v) { return PyLong_FromLongLong(v); }
inline PyObject* to_python(bool v) { return PyBool_FromLong(v); }
PyObject* to_python(const ops::MinMax& r);
PyObject* to_python(const ops::TensorList& tensors);  // a tuple
PyObject* to_python(const ops::OneOrMany& r);
PyObject* to_python(const ops::ValuesIndices& r);
PyObject* to_python(const ops::Extremes& r);
PyObject* to_python(const ops::Pair& r);

}  // namespace tg
