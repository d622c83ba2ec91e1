// NumPy arrays to tensors and back, without copying where memory allows.
#include "bindings/numpy_interop.h"

#include <pybind11/numpy.h>

#include <bit>

#include "bindings/arg_parser.h"
#include "tape/recorder.h"
#include "tensor/outside.h"

namespace py = pybind11;

namespace tg {
namespace {

void release_object(void* owner) {
  if (!Py_IsInitialized()) return;
  const py::gil_scoped_acquire gil;
  Py_DECREF(static_cast<PyObject*>(owner));
}

bool dtype_from(const py::dtype& d, DType* out) {
  switch (d.kind()) {
    case 'b': *out = DType::Bool; return true;
    case 'f':
      if (d.itemsize() == 4) return *out = DType::Float32, true;
      if (d.itemsize() == 8) return *out = DType::Float64, true;
      return false;
    case 'i':
      if (d.itemsize() == 4) return *out = DType::Int32, true;
      if (d.itemsize() == 8) return *out = DType::Int64, true;
      return false;
    case 'u':
      if (d.itemsize() == 1) return *out = DType::UInt8, true;
      return false;
    default: return false;
  }
}

// Memory that a tensor can point into: native byte order, aligned, non-negative strides in whole elements.
bool shareable(const py::array& a) {
  const int item = static_cast<int>(a.itemsize());
  const char order = a.dtype().byteorder(), swapped = std::endian::native == std::endian::little ? '>' : '<';
  if (order == swapped || !(a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) return false;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.strides(i) < 0 || a.strides(i) % item) return false;
  }
  return true;
}

}  // namespace

DType dtype_of_numpy(py::handle dtype_like) {
  DType t;
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype_like));
  if (!dtype_from(d, &t)) {
    throw TypeError("no tensor dtype corresponds to NumPy's " + std::string(py::str(d)) +
                    "; convert the array to bool, uint8, int32, int64, float32 or float64 first");
  }
  return t;
}

Tensor tensor_from_numpy(py::handle object) {
  py::array a = py::reinterpret_borrow<py::array>(object);
  const DType dtype = dtype_of_numpy(a.dtype());
  if (!shareable(a)) {
    const auto numpy = py::module_::import("numpy");
    a = numpy.attr("array")(a, py::arg("dtype") = a.dtype().attr("newbyteorder")("="), py::arg("order") = "C");
  }
  Dims shape, strides;
  int64_t extent = 1;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    shape.push_back(a.shape(i));
    strides.push_back(a.strides(i) / a.itemsize());
    extent += (a.shape(i) - 1) * strides.back();
  }
  auto* data = const_cast<void*>(a.data());
  const bool read_only = !a.writeable();
  const size_t bytes = a.size() ? static_cast<size_t>(extent * a.itemsize()) : 0;
  return borrow_memory(data, bytes, read_only, shape, strides, dtype, std::move(a));
}

Tensor borrow_memory(void* data, size_t bytes, bool read_only, const Dims& shape, const Dims& strides, DType dtype,
                     py::object owner) {
  Ref<TensorImpl> t(new TensorImpl(shape, strides, dtype));
  t->storage = Storage::borrow(data, bytes, read_only, owner.release().ptr(), release_object);
  t->data = t->storage->data;
  return Tensor(std::move(t));
}

Tensor tensor_from_numpy_value(py::handle value) {
  if (py::isinstance<py::array>(value)) return tensor_from_numpy(value);
  const py::array a = py::module_::import("numpy").attr("asarray")(value);
  // NumPy's own scalars promote by category, like Python numbers.
  Tensor t = ops::clone(tensor_from_numpy(a));
  if (t.rank() == 0) t->wrapped_number = true;
  return t;
}

namespace {

// What keeps a storage's bytes alive for NumPy. Not the tensor, whose .data may be replaced; for memory borrowed from
// an array that array, so that going back and forth makes no chain of owners.
py::object owner_of(const Ref<Storage>& s) {
  if (s->release) return py::reinterpret_borrow<py::object>(static_cast<PyObject*>(s->owner));
  const auto release = [](void* p) {
    auto* held = static_cast<Ref<Storage>*>(p);
    --(*held)->exports;
    delete held;
  };
  lend(*s);
  return py::capsule(new Ref<Storage>(s), release);
}

}  // namespace

py::object numpy_from_tensor(const Tensor& t) {
  refuse_reading(t, "numpy()");
  const auto item = static_cast<py::ssize_t>(itemsize(t.dtype()));
  std::vector<py::ssize_t> shape(t.shape().begin(), t.shape().end()), strides;
  for (int64_t s : t.strides()) strides.push_back(s * item);
  const py::object owner = owner_of(t->storage);
  const auto dtype = dispatch(t.dtype(), [](auto tag) { return py::dtype::of<decltype(tag)>(); });
  py::array a(dtype, std::move(shape), std::move(strides), t.data(), owner);
  if (t->storage->read_only) a.attr("setflags")(py::arg("write") = false);
  return a;
}

namespace {

// Integers that the wanted dtype cannot hold are an error, not a wrap-around.
void check_range(const py::array& a, DType wanted) {
  if (a.size() == 0 || is_float(wanted) || wanted == DType::Bool ||
      (a.dtype().kind() != 'i' && a.dtype().kind() != 'u'))
    return;
  const auto numpy = py::module_::import("numpy");
  const py::object limits = numpy.attr("iinfo")(name(wanted));
  const py::int_ low(a.attr("min")()), high(a.attr("max")());
  if (low < py::object(limits.attr("min")) || high > py::object(limits.attr("max"))) {
    throw std::invalid_argument("tensor: the integers " + std::string(py::str(low)) + " to " +
                                std::string(py::str(high)) + " do not fit in " + name(wanted));
  }
}

// Nested sequences and scalars, as NumPy reads them; Python floats take the default float dtype.
Tensor tensor_from_data(const py::object& data, ops::MaybeDType dtype) {
  if (is_tensor(data.ptr())) {
    const Tensor t = unwrap(data.ptr()).detach();
    return dtype.value_or(t.dtype()) == t.dtype() ? ops::clone(t) : ops::to(t, *dtype);
  }
  if (Tensor t = tensor_from_nested(data.ptr(), dtype)) return t;
  const bool from_numpy = py::hasattr(data, "__array_interface__");
  py::object source = data;
  if (py::isinstance<py::sequence>(data) && !from_numpy && !py::isinstance<py::str>(data)) {
    source = py::module_::import("tapegrad._data").attr("plain_data")(data);
  }
  py::array a;
  try {
    a = py::module_::import("numpy").attr("array")(source);
  } catch (py::error_already_set& e) {
    throw std::invalid_argument("tensor: the nested data is ragged or has no numeric type (" +
                                std::string(py::str(e.value())) + ")");
  }
  if (a.dtype().kind() == 'O' || a.dtype().kind() == 'U' || a.dtype().kind() == 'S') {
    throw TypeError("tensor: data must be numbers, nested sequences of numbers of one length, arrays or tensors; got " +
                    std::string(py::repr(py::type::of(data))) + " of NumPy dtype " + std::string(py::str(a.dtype())));
  }
  DType natural;
  const bool known = dtype_from(a.dtype(), &natural);
  if (!known || !shareable(a)) {
    const char kind = a.dtype().kind();
    if (kind != 'f' && kind != 'i' && kind != 'u') (void)dtype_of_numpy(a.dtype());
    natural = kind == 'f' ? DType::Float32 : DType::Int64;
    check_range(a, natural);
    a = a.attr("astype")(name(natural));
  }
  if (!from_numpy && is_float(natural)) natural = default_dtype();
  if (!from_numpy && a.size() == 0) natural = default_dtype();
  const DType wanted = dtype.value_or(natural);
  if (!from_numpy) check_range(a, wanted);
  const Tensor t = tensor_from_numpy(a);
  return wanted == t.dtype() ? ops::clone(t) : ops::to(t, wanted);
}

struct from_numpy {
  static constexpr const char *name = "from_numpy", *params = "array";
  static Tensor run(const py::object& array) {
    if (!py::isinstance<py::array>(array)) {
      throw TypeError(std::string("from_numpy: expected a NumPy array, got ") + Py_TYPE(array.ptr())->tp_name);
    }
    return tensor_from_numpy(array);
  }
  static constexpr auto fn = &run;
};

struct tensor {
  static constexpr const char *name = "tensor", *params = "data, *, dtype=None, device=None, requires_grad=False";
  static Tensor run(const py::object& data, ops::MaybeDType dtype, const py::object& device, bool requires_grad) {
    check_device(name, device.ptr());
    const GradMode off(false);
    Tensor t = tensor_from_data(data, dtype);
    if (requires_grad && !is_float(t.dtype())) {
      throw std::runtime_error("tensor: only float tensors can require grad, got " + describe(t));
    }
    t->requires_grad = requires_grad;
    return t;
  }
  static constexpr auto fn = &run;
};

struct operand {
  static constexpr const char *name = "_operand", *params = "value";
  static Tensor run(const py::object& value) {
    return is_operand(value.ptr()) ? to_operand(value.ptr()) : tensor_from_data(value, {});
  }
  static constexpr auto fn = &run;
};

}  // namespace

void bind_numpy(py::module_& m) {
  add_functions(m, {function<from_numpy>("A tensor that shares the array's memory and holds it. Copies only arrays "
                                         "with negative strides, foreign byte order or misaligned data."),
                    function<operand>("What an operator makes of its other operand."),
                    function<tensor>("A new tensor that copies numbers, nested sequences, arrays or tensors. Python "
                                     "floats become the default float dtype, Python ints int64.")});
}

}  // namespace tg
