// Methods and attributes of the Tensor type that are not ops.
#include "bindings/tensor_members.h"

#include "bindings/arg_parser.h"
#include "bindings/python_graph.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {

namespace {

// Each method: its name, parameters and function, called through the same parser as the ops.
struct dim_method {
  static constexpr const char *name = "dim", *params = "self";
  static int64_t run(const Tensor& t) { return t.rank(); }
  static constexpr auto fn = &run;
};
struct numel_method {
  static constexpr const char *name = "numel", *params = "self";
  static int64_t run(const Tensor& t) { return t.numel(); }
  static constexpr auto fn = &run;
};
struct element_size_method {
  static constexpr const char *name = "element_size", *params = "self";
  static int64_t run(const Tensor& t) { return static_cast<int64_t>(itemsize(t.dtype())); }
  static constexpr auto fn = &run;
};
struct data_ptr_method {
  static constexpr const char *name = "data_ptr", *params = "self";
  static int64_t run(const Tensor& t) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(t.data())); }
  static constexpr auto fn = &run;
};
struct storage_offset_method {
  static constexpr const char *name = "storage_offset", *params = "self";
  static int64_t run(const Tensor& t) { return t.storage_offset(); }
  static constexpr auto fn = &run;
};
struct is_contiguous_method {
  static constexpr const char *name = "is_contiguous", *params = "self";
  static bool run(const Tensor& t) { return t.contiguous(); }
  static constexpr auto fn = &run;
};
struct is_floating_point_method {
  static constexpr const char *name = "is_floating_point", *params = "self";
  static bool run(const Tensor& t) { return is_float(t.dtype()); }
  static constexpr auto fn = &run;
};
struct size_method {
  static constexpr const char *name = "size", *params = "self, dim=None";
  static py::object run(const Tensor& t, ops::MaybeDim dim) {
    if (dim) return py::int_(t.size(normalize_dim("size", *dim, t.rank())));
    return size_object(t.shape());
  }
  static constexpr auto fn = &run;
};
struct stride_method {
  static constexpr const char *name = "stride", *params = "self, dim=None";
  static py::object run(const Tensor& t, ops::MaybeDim dim) {
    if (dim) return py::int_(t.strides()[normalize_dim("stride", *dim, t.rank())]);
    py::tuple strides(static_cast<size_t>(t.rank()));
    for (int i = 0; i < t.rank(); ++i) strides[static_cast<size_t>(i)] = t.strides()[i];
    return strides;
  }
  static constexpr auto fn = &run;
};
struct is_signed_method {
  static constexpr const char *name = "is_signed", *params = "self";
  static bool run(const Tensor& t) { return t.dtype() != DType::Bool && t.dtype() != DType::UInt8; }
  static constexpr auto fn = &run;
};
struct is_complex_method {
  static constexpr const char *name = "is_complex", *params = "self";
  static bool run(const Tensor&) { return false; }
  static constexpr auto fn = &run;
};
struct is_same_size_method {
  static constexpr const char *name = "is_same_size", *params = "self, other";
  static bool run(const Tensor& t, const Tensor& other) { return t.shape() == other.shape(); }
  static constexpr auto fn = &run;
};
struct get_device_method {
  static constexpr const char *name = "get_device", *params = "self";
  static int64_t run(const Tensor&) { return -1; }
  static constexpr auto fn = &run;
};
struct detach_method {
  static constexpr const char *name = "detach", *params = "self";
  static Tensor run(const Tensor& t) { return t.detach(); }
  static constexpr auto fn = &run;
};
struct requires_grad_method {
  static constexpr const char *name = "requires_grad_", *params = "self, requires_grad=True";
  static Tensor run(const Tensor& t, bool requires_grad) {
    if (t->grad_fn && !requires_grad) {
      throw std::runtime_error("requires_grad_: only leaf tensors can stop requiring grad; use detach()");
    }
    if (requires_grad && !is_float(t.dtype())) {
      throw std::runtime_error("requires_grad_: only float tensors can require grad, got " + describe(t));
    }
    if (!t->grad_fn) t->requires_grad = requires_grad;
    return t;
  }
  static constexpr auto fn = &run;
};
struct backward_method {
  static constexpr const char *name = "backward",
                              *params = "self, gradient=None, retain_graph=None, create_graph=False, inputs=None";
  static py::object run(const py::object& self, const py::object& gradient, std::optional<bool> retain, bool create,
                        const py::object& inputs) {
    run_backward(name, self, gradient, "gradient", retain, create, inputs);
    return py::none();
  }
  static constexpr auto fn = &run;
};
struct where_method {
  static constexpr const char *name = "where", *params = "self, condition, other";
  static Tensor run(const Tensor& t, const Tensor& condition, const Tensor& other) {
    return ops::where(condition, t, other);
  }
  static constexpr auto fn = &run;
};

// Attributes
using Getter = PyObject* (*)(const Tensor&);
template <Getter Get>
PyObject* get(PyObject* self, void*) {
  return guarded(static_cast<PyObject*>(nullptr), [&] { return Get(unwrap(self)); });
}
PyObject* get_shape(const Tensor& t) { return size_object(t.shape()).release().ptr(); }
PyObject* get_dtype(const Tensor& t) { return Py_NewRef(dtype_object(t.dtype())); }
PyObject* get_ndim(const Tensor& t) { return PyLong_FromLong(t.rank()); }
PyObject* get_requires_grad(const Tensor& t) { return PyBool_FromLong(t.requires_grad()); }
PyObject* get_is_leaf(const Tensor& t) { return PyBool_FromLong(!t->grad_fn); }
PyObject* get_grad(const Tensor& t) {
  const Ref<TensorImpl>& grad = grad_of(*t.ref());
  return grad ? wrap(Tensor(grad)) : Py_NewRef(Py_None);
}
PyObject* get_grad_fn(const Tensor& t) {
  if (!t->grad_fn) return Py_NewRef(Py_None);
  const Node& n = static_cast<const Node&>(*t->grad_fn);
  return py::module_::import("tapegrad._repr").attr("GradFn")(n.op->name, n.sequence).release().ptr();
}
PyObject* get_data(const Tensor& t) { return wrap(t.detach()); }
PyObject* get_transposed(const Tensor& t) {
  Dims dims;
  for (int i = t.rank() - 1; i >= 0; --i) dims.push_back(i);
  return wrap(ops::permute(t, dims));
}
PyObject* get_matrix_transposed(const Tensor& t) {
  if (t.rank() < 2) throw std::runtime_error("mT: expected at least 2 dimensions, got " + describe(t));
  return wrap(ops::transpose(t, -2, -1));
}
PyObject* get_adjoint(const Tensor& t) {
  if (t.rank() != 2) throw std::runtime_error("H: expected 2 dimensions, got " + describe(t));
  return wrap(ops::transpose(t, 0, 1));
}
PyObject* get_device(const Tensor&) {
  static PyObject* const cpu = py::module_::import("tapegrad._device").attr("device")("cpu").release().ptr();
  return Py_NewRef(cpu);
}
PyObject* get_false(const Tensor&) { return Py_NewRef(Py_False); }
PyObject* get_retains_grad(const Tensor& t) { return PyBool_FromLong(retains_grad(t)); }
PyObject* get_version(const Tensor& t) { return PyLong_FromUnsignedLong(t->storage->version); }
PyObject* get_itemsize(const Tensor& t) { return PyLong_FromSize_t(itemsize(t.dtype())); }
PyObject* get_nbytes(const Tensor& t) {
  return PyLong_FromLongLong(t.numel() * static_cast<int64_t>(itemsize(t.dtype())));
}

const Tensor& tensor_value(PyObject* value, const char* attribute) {
  if (!value || !is_tensor(value)) throw TypeError(std::string(attribute) + " must be set to a tensor");
  return unwrap(value);
}

int assign_grad(PyObject* self, PyObject* value, void*) {
  return guarded(-1, [&] {
    const Tensor& t = unwrap(self);
    if (!value || value == Py_None) {
      set_grad(*t.ref(), {});
      return 0;
    }
    const Tensor& g = tensor_value(value, "grad");
    if (!(g.shape() == t.shape()) || g.dtype() != t.dtype()) {
      throw std::runtime_error("grad: a gradient " + describe(g) + " does not match the tensor " + describe(t));
    }
    if (g.is(t)) throw std::runtime_error("grad: a tensor cannot be its own gradient");
    set_grad(*t.ref(), g.ref());
    return 0;
  });
}

int set_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded(-1, [&] {
    if (!value) throw TypeError("requires_grad cannot be deleted");
    requires_grad_method::run(unwrap(self), FromPython<bool>::convert({"requires_grad", "requires_grad", value}));
    return 0;
  });
}

// t.data = other: the tensor keeps its identity and takes over the other's memory, shape and dtype.
int set_data(PyObject* self, PyObject* value, void*) {
  return guarded(-1, [&] {
    const Tensor& t = unwrap(self);
    const Tensor source = tensor_value(value, "data").detach();
    if (t->grad_fn) throw std::runtime_error("data: only a leaf tensor's data can be replaced");
    if (t->requires_grad && !is_float(source.dtype())) {
      throw std::runtime_error("data: a tensor that requires grad needs float data, got " + describe(source));
    }
    const bool same_strides = source.strides() == t.strides() || (source.contiguous() && t.contiguous());
    if (!(source.shape() == t.shape() && same_strides && source.dtype() == t.dtype())) ++t->layout;
    const Ref<Storage> before =
        t->storage;  // letting go of it may run Python code, which must not find a half-way state
    t->storage = source->storage;
    t->data = source->data;
    t->numel = source->numel;
    t->dtype = source->dtype;
    t->contiguous = source->contiguous;
    t->shape = source->shape;
    t->strides = source->strides;
    return 0;
  });
}

}  // namespace

std::vector<PyMethodDef> tensor_methods() {
  return {
      define<dim_method>("Number of dimensions."),
      define<dim_method>("Number of dimensions.", "ndimension"),
      define<numel_method>("Number of elements."),
      define<numel_method>("Number of elements.", "nelement"),
      define<element_size_method>("Bytes of one element."),
      define<data_ptr_method>("Address of the first element."),
      define<storage_offset_method>("Offset of the first element in its storage, in elements."),
      define<is_contiguous_method>("True where the elements lie in memory in row-major order without gaps."),
      define<is_floating_point_method>("True for float32 and float64."),
      define<is_complex_method>("False."),
      define<is_signed_method>("False for bool and uint8."),
      define<is_same_size_method>("True where the other tensor has the same shape."),
      define<get_device_method>("-1, PyTorch's number of the CPU."),
      define<size_method>("The shape, or the size of one dimension."),
      define<stride_method>("The strides in elements, or that of one dimension."),
      define<detach_method>("A tensor on the same memory, outside the graph."),
      define<requires_grad_method>("Sets whether operations on this leaf are recorded; returns it."),
      define<backward_method>(
          "Adds the gradient of this tensor to the .grad of every leaf it was computed from.\n\n"
          "gradient: of this tensor's shape; needed unless it has one element. retain_graph: keep "
          "what the graph saved, for another call. create_graph: the gradients can be differentiated "
          "again. inputs: the tensors whose .grad is added to, instead of all leaves."),
      define<where_method>("This tensor where condition holds, other elsewhere."),
  };
}

PyGetSetDef* tensor_getset() {
  static PyGetSetDef definitions[] = {
      {"shape", get<get_shape>, nullptr, "The sizes of the dimensions, a Size.", nullptr},
      {"dtype", get<get_dtype>, nullptr, "The type of the elements.", nullptr},
      {"ndim", get<get_ndim>, nullptr, "Number of dimensions.", nullptr},
      {"itemsize", get<get_itemsize>, nullptr, "Bytes of one element.", nullptr},
      {"nbytes", get<get_nbytes>, nullptr, "Bytes of all elements.", nullptr},
      {"requires_grad", get<get_requires_grad>, set_requires_grad, "Whether operations on it are recorded.", nullptr},
      {"is_leaf", get<get_is_leaf>, nullptr, "True for tensors that no recorded operation made.", nullptr},
      {"grad", get<get_grad>, assign_grad, "The accumulated gradient, or None.", nullptr},
      {"grad_fn", get<get_grad_fn>, nullptr, "The recorded operation that made it, or None.", nullptr},
      {"retains_grad", get<get_retains_grad>, nullptr, "Whether it is no leaf and keeps its .grad.", nullptr},
      {"data", get<get_data>, set_data, "A tensor on the same memory, outside the graph.", nullptr},
      {"T", get<get_transposed>, nullptr, "A view with all dimensions in reverse order.", nullptr},
      {"mT", get<get_matrix_transposed>, nullptr, "A view with the last two dimensions exchanged.", nullptr},
      {"H", get<get_adjoint>, nullptr, "The transpose of a matrix.", nullptr},
      {"device", get<get_device>, nullptr, "Where the elements are: device('cpu').", nullptr},
      {"is_cuda", get<get_false>, nullptr, "False.", nullptr},
      {"is_sparse", get<get_false>, nullptr, "False.", nullptr},
      {"_version", get<get_version>, nullptr, "Number of in-place writes to its storage.", nullptr},
      {},
  };
  return definitions;
}

}  // namespace tg
