// Methods of the Tensor type that convert: to Python's numbers, NumPy, other dtypes.
#include "bindings/arg_parser.h"
#include "bindings/dlpack.h"
#include "bindings/numpy_interop.h"
#include "bindings/tensor_members.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

struct item_method {
  static constexpr const char *name = "item", *params = "self";
  static py::object run(const Tensor& t) {
    if (t.numel() != 1) {
      throw std::invalid_argument("item: only a tensor of one element has an item, got shape " + to_string(t.shape()));
    }
    refuse_reading(t, "item()");
    if (t.dtype() == DType::Bool) return py::bool_(t.item_int64() != 0);
    if (is_float(t.dtype())) return py::float_(t.item_double());
    return py::int_(t.item_int64());
  }
  static constexpr auto fn = &run;
};
struct complex_method {
  static constexpr const char *name = "__complex__", *params = "self";
  static py::object run(const Tensor& t) {
    return py::reinterpret_steal<py::object>(PyComplex_FromDoubles(py::cast<double>(item_method::run(t)), 0));
  }
  static constexpr auto fn = &run;
};
struct tolist_method {
  static constexpr const char *name = "tolist", *params = "self";
  static py::object run(const Tensor& t) { return nested_from_tensor(t.detach()); }
  static constexpr auto fn = &run;
};

void refuse_graph(const char* op, const Tensor& t) {
  if (!t.requires_grad()) return;
  throw std::runtime_error(std::string(op) +
                           ": a tensor that requires grad shares its memory only once detached; use "
                           "t.detach().numpy()");
}
struct numpy_method {
  static constexpr const char *name = "numpy", *params = "self, *, force=False";
  static py::object run(const Tensor& t, bool force) {
    if (!force) refuse_graph(name, t);
    return numpy_from_tensor(force ? t.detach() : t);
  }
  static constexpr auto fn = &run;
};
struct array_method {
  static constexpr const char *name = "__array__", *params = "self, dtype=None, copy=None";
  static py::object run(const Tensor& t, const py::object& dtype, std::optional<bool> copy) {
    refuse_graph("numpy", t);
    const py::object a = numpy_from_tensor(t);
    const auto numpy = py::module_::import("numpy");
    if (dtype.is_none() || py::object(a.attr("dtype")).equal(py::object(numpy.attr("dtype")(dtype))))
      return copy.value_or(false) ? a.attr("copy")() : a;
    if (copy && !*copy) {
      throw std::invalid_argument(std::string("numpy: a ") + tg::name(t.dtype()) +
                                  " tensor becomes an array of another dtype only by a copy");
    }
    return a.attr("astype")(dtype);
  }
  static constexpr auto fn = &run;
};

// to(dtype), to(device), to(device, dtype), to(other), each with non_blocking and copy behind it or by name.
struct to_method {
  static constexpr const char *name = "to",
                              *params = "self, *args, dtype=None, device=None, non_blocking=False, copy=False";
  static Tensor run(const Tensor& t, const py::object& args, ops::MaybeDType dtype, const py::object& device, bool,
                    bool copy) {
    const py::tuple given = py::isinstance<py::tuple>(args) ? py::tuple(args) : py::make_tuple(args);
    if (given.empty() && !dtype && device.is_none()) throw TypeError("to: expected a dtype, a device or a tensor");
    check_device(name, device.ptr());
    int flags = 0;
    for (const py::handle a : given) {
      if (PyBool_Check(a.ptr()))
        copy |= flags++ && a.ptr() == Py_True;
      else if (is_tensor(a.ptr()))
        dtype = unwrap(a.ptr()).dtype();
      else if (is_device(a.ptr()))
        check_device(name, a.ptr());
      else if (!a.is_none())
        dtype = to_dtype(a.ptr());
    }
    const Tensor out = ops::to(t, dtype.value_or(t.dtype()));
    return copy && out.is(t) ? ops::clone(t) : out;
  }
  static constexpr auto fn = &run;
};
struct type_method {
  static constexpr const char *name = "type", *params = "self, dtype=None, non_blocking=False";
  static py::object run(const Tensor& t, ops::MaybeDType dtype, bool) {
    constexpr const char* names[kNumDTypes] = {"Bool", "Byte", "Int", "Long", "Float", "Double"};
    if (dtype) return py::cast(ops::to(t, *dtype));
    return py::str(std::string("tapegrad.") + names[static_cast<int>(t.dtype())] + "Tensor");
  }
  static constexpr auto fn = &run;
};
struct type_as_method {
  static constexpr const char *name = "type_as", *params = "self, other";
  static Tensor run(const Tensor& t, const Tensor& other) { return ops::to(t, other.dtype()); }
  static constexpr auto fn = &run;
};
template <DType T>
struct cast_method {
  static constexpr const char *name = T == DType::Float32   ? "float"
                                      : T == DType::Float64 ? "double"
                                      : T == DType::Int64   ? "long"
                                      : T == DType::Int32   ? "int"
                                      : T == DType::UInt8   ? "byte"
                                                            : "bool",
                              *params = "self";
  static Tensor run(const Tensor& t) { return ops::to(t, T); }
  static constexpr auto fn = &run;
};
struct cpu_method {
  static constexpr const char *name = "cpu", *params = "self";
  static Tensor run(const Tensor& t) { return t; }
  static constexpr auto fn = &run;
};
struct cuda_method {
  static constexpr const char *name = "cuda", *params = "self, device=None, non_blocking=False";
  static Tensor run(const Tensor&, const py::object&, bool) {
    throw std::runtime_error("cuda: tapegrad computes on the CPU; leave the call out, or use .to(device)");
  }
  static constexpr auto fn = &run;
};

}  // namespace

std::vector<PyMethodDef> conversion_methods() {
  return {
      define<item_method>("The one element as a Python number."),
      define<complex_method>("The one element as a complex number."),
      define<tolist_method>("The elements as nested lists of Python numbers."),
      define<numpy_method>("A NumPy array on the same memory; RuntimeError for a tensor that requires grad, unless "
                           "force is true."),
      define<array_method>("NumPy's array protocol: shares memory; RuntimeError for a tensor that requires grad."),
      define<to_method>("The tensor in another dtype or in that of another tensor: itself where it has it already, "
                        "unless copy. Devices are accepted where they are the CPU."),
      define<type_method>("The tensor in another dtype; without one, the name of its type."),
      define<type_as_method>("The tensor in the dtype of another one."),
      define<cast_method<DType::Float32>>("Cast to float32."),
      define<cast_method<DType::Float64>>("Cast to float64."),
      define<cast_method<DType::Int64>>("Cast to int64."),
      define<cast_method<DType::Int32>>("Cast to int32."),
      define<cast_method<DType::UInt8>>("Cast to uint8."),
      define<cast_method<DType::Bool>>("Cast to bool: True where nonzero."),
      define<cpu_method>("The tensor itself."),
      define<cuda_method>("RuntimeError: there is only the CPU."),
      dlpack_method(),
      dlpack_device_method(),
  };
}

}  // namespace tg
