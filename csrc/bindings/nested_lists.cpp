// Nested lists of Python numbers to tensors and back.
#include "bindings/convert.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

constexpr int kMostNested = 8;  // deeper data is left to NumPy

bool is_plain_sequence(PyObject* o) { return PyList_CheckExact(o) || PyTuple_CheckExact(o); }

// The dtype of the numbers in `o`, which has to have the sizes shape[d...]; false for what NumPy has to read or refuse.
bool scan(PyObject* o, const Dims& shape, int d, DType* dtype) {
  if (d < shape.size()) {
    if (!is_plain_sequence(o) || PySequence_Fast_GET_SIZE(o) != shape[d]) return false;
    PyObject** const items = PySequence_Fast_ITEMS(o);
    for (int64_t i = 0; i < shape[d]; ++i) {
      if (!scan(items[i], shape, d + 1, dtype)) return false;
    }
    return true;
  }
  if (PyFloat_CheckExact(o)) {
    *dtype = DType::Float64;
  } else if (PyLong_CheckExact(o)) {
    int overflow;
    PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) return false;
    *dtype = promote(*dtype, DType::Int64);
  } else if (!PyBool_Check(o)) {
    return false;
  }
  return true;
}

// The numbers in the order of memory. Ints among floats become double first, as NumPy has it.
template <class T>
T* fill(PyObject* o, int depth, bool floats, T* out) {
  if (depth > 0) {
    PyObject** const items = PySequence_Fast_ITEMS(o);
    for (Py_ssize_t i = 0, n = PySequence_Fast_GET_SIZE(o); i < n; ++i) out = fill(items[i], depth - 1, floats, out);
    return out;
  }
  *out = PyFloat_CheckExact(o) ? static_cast<T>(PyFloat_AS_DOUBLE(o))
         : floats              ? static_cast<T>(PyLong_AsDouble(o))
                               : static_cast<T>(PyLong_AsLongLong(o));
  return out + 1;
}

template <class T>
PyObject* number(T value, bool is_bool) {
  if constexpr (std::is_floating_point_v<T>) return PyFloat_FromDouble(value);
  return is_bool ? PyBool_FromLong(value != 0) : PyLong_FromLongLong(static_cast<int64_t>(value));
}

// The elements of a tensor at `at`, from dimension d on: a new reference.
template <class T>
PyObject* nested(const Tensor& t, int d, const T* at) {
  if (d == t.rank()) {
    PyObject* const value = number(*at, t.dtype() == DType::Bool);
    if (!value) throw py::error_already_set();
    return value;
  }
  const int64_t n = t.size(d), step = t.strides()[d];
  py::list out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) PyList_SET_ITEM(out.ptr(), i, nested(t, d + 1, at + i * step));
  return out.release().ptr();
}

}  // namespace

Tensor tensor_from_nested(PyObject* data, ops::MaybeDType dtype) {
  Dims shape;
  for (PyObject* o = data; is_plain_sequence(o); o = PySequence_Fast_ITEMS(o)[0]) {
    if (shape.size() == kMostNested || PySequence_Fast_GET_SIZE(o) == 0) return {};
    shape.push_back(PySequence_Fast_GET_SIZE(o));
  }
  DType natural = DType::Bool;
  if (!scan(data, shape, 0, &natural)) return {};
  const bool floats = is_float(natural);
  const DType wanted = dtype.value_or(floats ? default_dtype() : natural);
  if (!is_float(wanted) && wanted != natural) return {};  // NumPy checks the range
  const Tensor t = Tensor::empty(shape, wanted);
  dispatch_stored(wanted, [&](auto tag) { fill(data, shape.size(), floats, t.data<decltype(tag)>()); });
  return t;
}

py::object nested_from_tensor(const Tensor& t) {
  refuse_reading(t, "tolist()");
  return dispatch_stored(
      t.dtype(), [&](auto tag) { return py::reinterpret_steal<py::object>(nested(t, 0, t.data<decltype(tag)>())); });
}

}  // namespace tg
