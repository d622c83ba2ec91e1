// Python arguments to C++ values: numbers, shapes, dtypes.
#include "bindings/convert.h"

#include "bindings/numpy_interop.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

bool is_number(PyObject* o) { return PyFloat_Check(o) || PyLong_Check(o); }

// NumPy scalars have __index__ or __float__ and a dtype, and are no sequences.
bool is_numpy(PyObject* o) { return !is_number(o) && py::hasattr(o, "__array_interface__"); }

py::object& dtype_slot(int i) {
  static auto* slots = new py::object[kNumDTypes];
  return slots[i];
}

}  // namespace

bool is_operand(PyObject* o) { return is_tensor(o) || is_number(o) || is_numpy(o); }

Tensor to_operand(PyObject* o) {
  if (is_tensor(o)) return unwrap(o);
  if (PyBool_Check(o)) return Tensor::number(o == Py_True);
  if (PyFloat_Check(o)) return Tensor::number(PyFloat_AS_DOUBLE(o));
  if (PyLong_Check(o)) return Tensor::number(to_int64(o));
  return tensor_from_numpy_value(o);
}

Tensor to_operand_beside(PyObject* o, PyObject* other) {
  if (is_tensor(o)) return unwrap(o);
  // Beside a float tensor a Python number takes its dtype: made in it at once, it needs no cast.
  if (is_tensor(other) && is_float(unwrap(other).dtype()) && is_number(o)) {
    const double value = PyFloat_Check(o) ? PyFloat_AS_DOUBLE(o) : PyLong_AsDouble(o);
    if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
    Tensor t = Tensor::scalar(value, unwrap(other).dtype());
    t->wrapped_number = true;
    return t;
  }
  return to_operand(o);
}

int64_t to_int64(PyObject* o) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(o));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow) throw std::invalid_argument("the integer " + std::string(py::str(index)) + " does not fit in int64");
  if (v == -1 && PyErr_Occurred()) throw py::error_already_set();
  return v;
}

double to_double(PyObject* o) {
  const double v = PyFloat_AsDouble(o);
  if (v == -1 && PyErr_Occurred()) throw py::error_already_set();
  return v;
}

Dims to_dims(PyObject* o) {
  Dims d;
  if (PyIndex_Check(o)) {
    d.push_back(to_int64(o));
    return d;
  }
  const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(o, "expected an int or a sequence of ints"));
  if (!items) throw py::error_already_set();
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
    d.push_back(to_int64(PySequence_Fast_GET_ITEM(items.ptr(), i)));
  }
  return d;
}

struct DTypeObject {
  DType value;
};

void create_dtypes(py::module_& m) {
  py::class_<DTypeObject>(m, "dtype", "The type of a tensor's elements, e.g. tapegrad.float32.")
      .def("__repr__", [](const DTypeObject& d) { return std::string("tapegrad.") + name(d.value); })
      .def("__reduce__", [](const DTypeObject& d) { return std::string(name(d.value)); })
      .def_property_readonly("itemsize", [](const DTypeObject& d) { return itemsize(d.value); })
      .def_property_readonly("is_floating_point", [](const DTypeObject& d) { return is_float(d.value); });
  for (int i = 0; i < kNumDTypes; ++i) {
    dtype_slot(i) = py::cast(DTypeObject{static_cast<DType>(i)});
    m.attr(name(static_cast<DType>(i))) = dtype_slot(i);
  }
  m.attr("double") = dtype_slot(static_cast<int>(DType::Float64));
  m.attr("float") = dtype_slot(static_cast<int>(DType::Float32));
  m.attr("long") = dtype_slot(static_cast<int>(DType::Int64));
  m.attr("int") = dtype_slot(static_cast<int>(DType::Int32));
}

PyObject* dtype_object(DType t) { return dtype_slot(static_cast<int>(t)).ptr(); }

DType to_dtype(PyObject* o) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (o == dtype_slot(i).ptr()) return static_cast<DType>(i);
  }
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return default_dtype();
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
  if (PyType_Check(o) && py::hasattr(o, "dtype")) {  // LongTensor and its like
    const py::object own = py::handle(o).attr("dtype");
    if (py::isinstance<DTypeObject>(own)) return own.cast<DTypeObject>().value;
  }
  if (PyType_Check(o) || py::hasattr(o, "itemsize")) return dtype_of_numpy(py::handle(o));
  throw TypeError("expected a dtype such as tapegrad.float32, got " + std::string(py::repr(o)));
}

bool is_device(PyObject* o) { return PyUnicode_Check(o) || std::string_view(Py_TYPE(o)->tp_name) == "device"; }

void check_device(const char* op, PyObject* device) {
  if (device == Py_None) return;
  if (!is_device(device)) {
    throw TypeError(std::string(op) + ": device must be a str or tapegrad.device, got " + Py_TYPE(device)->tp_name);
  }
  const std::string named = py::str(device);
  if (named == "cpu" || named == "cpu:0") return;
  throw std::invalid_argument(std::string(op) + ": tapegrad computes on the CPU; there is no device '" + named + "'");
}

namespace {
// A pair of the type of that name, which is looked up once.
PyObject* named_pair(PyObject*& type, const char* name, const Tensor& a, const Tensor& b) {
  if (!type) type = py::object(py::module_::import("tapegrad._values_indices").attr(name)).release().ptr();
  return py::reinterpret_borrow<py::object>(type)(a, b).release().ptr();
}
}  // namespace

PyObject* to_python(const ops::MinMax& r) {
  if (const Tensor* t = std::get_if<Tensor>(&r)) return wrap(*t);
  return to_python(std::get<ops::ValuesIndices>(r));
}
PyObject* to_python(const ops::ValuesIndices& r) {
  static PyObject* type = nullptr;
  return named_pair(type, "ValuesIndices", r.values, r.indices);
}
PyObject* to_python(const ops::Extremes& r) {
  static PyObject* type = nullptr;
  return named_pair(type, "Extremes", r.min, r.max);
}
PyObject* to_python(const ops::Pair& r) { return py::make_tuple(r.first, r.second).release().ptr(); }
PyObject* to_python(const ops::TensorList& tensors) {
  const auto n = static_cast<Py_ssize_t>(tensors.size());
  auto items = py::reinterpret_steal<py::object>(PyTuple_New(n));
  if (!items) throw py::error_already_set();
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(items.ptr(), i, wrap(tensors[static_cast<size_t>(i)]));
  return items.release().ptr();
}

PyObject* to_python(const ops::OneOrMany& r) {
  return std::visit([](const auto& one) { return to_python(one); }, r);
}

// A sequence of ints, or an integer tensor of one dimension, of any length.
ops::IntList FromPython<ops::IntList>::convert(const Argument& a) {
  if (is_tensor(a.value))
    refuse_reading(unwrap(a.value), (std::string(a.op) + "()").c_str());
  else if (PyUnicode_Check(a.value) || !PySequence_Check(a.value))
    a.fail("a list or tuple of ints");
  const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(a.value, "expected a sequence of ints"));
  if (!items) throw py::error_already_set();
  ops::IntList out;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
    out.push_back(to_int64(PySequence_Fast_GET_ITEM(items.ptr(), i)));
  }
  return out;
}

ops::SizeOrSizes FromPython<ops::SizeOrSizes>::convert(const Argument& a) {
  const bool many = is_tensor(a.value) ? unwrap(a.value).rank() > 0 : PySequence_Check(a.value);
  if (many) return FromPython<ops::IntList>::convert(a);
  if (!PyIndex_Check(a.value)) a.fail("an int or a list of ints");
  return to_int64(a.value);
}

ops::TensordotDims FromPython<ops::TensordotDims>::convert(const Argument& a) {
  if (!PySequence_Check(a.value) || is_tensor(a.value)) return FromPython<int64_t>::convert(a);
  const auto both = py::reinterpret_borrow<py::sequence>(a.value);
  if (PyUnicode_Check(a.value) || both.size() != 2) a.fail("an int or two lists of dims");
  const auto list = [&](const py::object& o) { return FromPython<ops::IntList>::convert({a.op, a.name, o.ptr()}); };
  return std::pair(list(both[0]), list(both[1]));
}

namespace {

// A list of labels such as [0, 1, ...] as the letters of an equation: A to Z, then a to z.
std::string letters(PyObject* labels) {
  if (is_tensor(labels) || PyUnicode_Check(labels) || !PySequence_Check(labels)) {
    throw TypeError(std::string("einsum: expected a list of labels behind each tensor, got ") +
                    Py_TYPE(labels)->tp_name);
  }
  std::string out;
  for (const py::handle item : py::reinterpret_borrow<py::sequence>(labels)) {
    if (item.is(py::ellipsis())) {
      out += "...";
      continue;
    }
    const int64_t k = to_int64(item.ptr());
    if (k < 0 || k >= 52) throw std::invalid_argument("einsum: label " + std::to_string(k) + " is not in 0 .. 51");
    out += static_cast<char>(k < 26 ? 'A' + k : 'a' + (k - 26));
  }
  return out;
}

}  // namespace

ops::Einsum FromPython<ops::Einsum>::convert(const Argument& a) {
  const auto given = py::reinterpret_borrow<py::object>(a.value);
  const py::tuple args = PyUnicode_Check(a.value) ? py::make_tuple(given) : py::tuple(given);
  const size_t n = args.size();
  if (n == 0) throw TypeError("einsum: expected an equation and tensors");
  ops::Einsum out;
  if (PyUnicode_Check(py::object(args[0]).ptr())) {
    out.equation = py::cast<std::string>(args[0]);
    py::object operands = args[py::slice(1, static_cast<ssize_t>(n), 1)];
    if (n == 2 && !is_tensor(py::object(args[1]).ptr())) operands = args[1];
    out.operands = FromPython<ops::TensorList>::convert({a.op, "operands", operands.ptr()});
    return out;
  }
  for (size_t i = 0; i + 1 < n; i += 2) {
    if (!is_tensor(py::object(args[i]).ptr())) Argument{a.op, "operands", py::object(args[i]).ptr()}.fail("a tensor");
    out.operands.push_back(unwrap(py::object(args[i]).ptr()));
    if (i) out.equation += ',';
    out.equation += letters(py::object(args[i + 1]).ptr());
  }
  if (n % 2) out.equation += "->" + letters(py::object(args[n - 1]).ptr());
  return out;
}

}  // namespace tg
