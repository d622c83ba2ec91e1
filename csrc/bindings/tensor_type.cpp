// The Python type `Tensor`: allocation, the number, sequence and mapping slots.
#include "bindings/tensor_type.h"

#include <structmember.h>

#include "bindings/bind_ops.h"
#include "bindings/buffer.h"
#include "bindings/convert.h"
#include "bindings/python_graph.h"
#include "bindings/tensor_members.h"
#include "tape/recorder.h"
#include "tape/tape.h"

namespace py = pybind11;

namespace tg {
namespace detail {
PyTypeObject* tensor_type = nullptr;
}
namespace {

PyTypeObject*& type = detail::tensor_type;

// Wrappers of exactly the type Tensor are recycled: creating one is on the path of every operation.
constexpr int kMaxFree = 64;
PyTensor* free_list[kMaxFree];
int free_count = 0;

PyObject* new_wrapper(const Tensor& t, PyTypeObject* cls) {
  PyTensor* self;
  if (cls == type && free_count > 0) {
    self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), type);
  } else {
    self = cls == type ? PyObject_GC_New(PyTensor, type) : reinterpret_cast<PyTensor*>(cls->tp_alloc(cls, 0));
    if (!self) throw py::error_already_set();
  }
  self->weakrefs = nullptr;
  self->tracked = cls != type;
  new (&self->tensor) Tensor(t);
  t->py_object = self;
  auto* const o = reinterpret_cast<PyObject*>(self);
  if (t->extras || (t->grad_fn && static_cast<Node&>(*t->grad_fn).holds_python)) [[unlikely]]
    track(o);
  return o;
}

void dealloc(PyObject* o) {
  auto* self = reinterpret_cast<PyTensor*>(o);
  PyTypeObject* cls = Py_TYPE(o);
  if (self->tracked) PyObject_GC_UnTrack(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  if (self->tensor && self->tensor->py_object == self) self->tensor->py_object = nullptr;
  self->tensor.~Tensor();
  if (cls == type && free_count < kMaxFree)
    free_list[free_count++] = self;
  else
    cls->tp_free(o);
  Py_DECREF(cls);
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  return visit_graph(reinterpret_cast<PyTensor*>(o)->tensor, visit, arg);
}

// Part of a cycle that nobody refers to: lets go of its graph.
int clear(PyObject* o) {
  static const auto* const nothing = new Tensor(Tensor::empty({0}, DType::Float32));
  auto* const self = reinterpret_cast<PyTensor*>(o);
  if (self->tensor->py_object == self) self->tensor->py_object = nullptr;
  const Tensor dead = std::exchange(self->tensor, *nothing);
  return 0;
}

// Tensor(2, 3), Tensor(size): uninitialised of that shape; Tensor([...]), Tensor(array): a copy; default float dtype.
PyObject* construct(PyTypeObject* cls, PyObject* args, PyObject* keywords) {
  return guarded(static_cast<PyObject*>(nullptr), [&]() -> PyObject* {
    if (keywords && PyDict_GET_SIZE(keywords))
      throw TypeError("Tensor() takes no keyword arguments; use tapegrad.tensor()");
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    PyObject* first = n ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (n == 0) return wrap(Tensor::empty({0}, default_dtype()), cls);
    if (PyLong_Check(first)) return wrap(Tensor::empty(to_dims(args), default_dtype()), cls);
    if (n == 1 && is_size(first)) return wrap(Tensor::empty(to_dims(first), default_dtype()), cls);
    if (n > 1) throw TypeError("Tensor() takes sizes, or one sequence, array or tensor");
    const auto make = py::module_::import("tapegrad._core").attr("tensor");
    const py::object t = make(py::handle(first), py::arg("dtype") = py::handle(dtype_object(default_dtype())));
    return wrap(unwrap(t.ptr()).detach(), cls);
  });
}

// One slot for an operator and its reflected form; NotImplemented for operands that are neither tensor nor number.
template <Tensor (*Op)(const Tensor&, const Tensor&)>
PyObject* binary(PyObject* a, PyObject* b) {
  const bool tensors = is_tensor(a) && is_tensor(b);
  if (!tensors && (!is_operand(a) || !is_operand(b))) Py_RETURN_NOTIMPLEMENTED;
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    return wrap(tensors ? Op(unwrap(a), unwrap(b)) : Op(to_operand_beside(a, b), to_operand_beside(b, a)));
  });
}

template <Tensor (*Op)(Tensor, const Tensor&)>
PyObject* in_place(PyObject* a, PyObject* b) {
  if (!is_operand(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    Op(unwrap(a), to_operand_beside(b, a));
    Py_INCREF(a);
    return a;
  });
}

template <Tensor (*Op)(const Tensor&)>
PyObject* unary(PyObject* a) {
  return guarded(static_cast<PyObject*>(nullptr), [&] { return wrap(Op(unwrap(a))); });
}

PyObject* power(PyObject* a, PyObject* b, PyObject*) { return binary<ops::pow>(a, b); }
PyObject* power_in_place(PyObject* a, PyObject* b, PyObject*) { return in_place<ops::pow_>(a, b); }

PyObject* quotient_and_remainder(PyObject* a, PyObject* b) {
  const auto quotient = py::reinterpret_steal<py::object>(binary<ops::floor_divide>(a, b));
  if (!quotient || quotient.is(py::handle(Py_NotImplemented))) return py::object(quotient).release().ptr();
  const auto rest = py::reinterpret_steal<py::object>(binary<ops::remainder>(a, b));
  return rest ? PyTuple_Pack(2, quotient.ptr(), rest.ptr()) : nullptr;
}

PyObject* positive(PyObject* a) {
  Py_INCREF(a);
  return a;
}

const Tensor& single_value(PyObject* o, const char* what) {
  const Tensor& t = unwrap(o);
  refuse_reading(t, what);
  if (t.numel() == 1) return t;
  throw std::runtime_error(std::string(what) + ": a tensor of shape " + to_string(t.shape()) +
                           " has no single value; use any(), all() or index it");
}

int truth(PyObject* o) {
  return guarded(-1, [&] { return single_value(o, "bool()").item_double() != 0 ? 1 : 0; });
}

PyObject* as_float(PyObject* o) {
  return guarded(static_cast<PyObject*>(nullptr),
                 [&] { return PyFloat_FromDouble(single_value(o, "float()").item_double()); });
}

PyObject* as_int(PyObject* o) {
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    const Tensor& t = single_value(o, "int()");
    return is_float(t.dtype()) ? PyLong_FromDouble(t.item_double()) : PyLong_FromLongLong(t.item_int64());
  });
}

PyObject* as_index(PyObject* o) {
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    const Tensor& t = unwrap(o);
    if (t.numel() != 1 || is_float(t.dtype()))
      throw TypeError("only integer tensors of one element are an index, got " + describe(t));
    refuse_reading(t, "use as a Python index");
    return PyLong_FromLongLong(t.item_int64());
  });
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  switch (op) {
    case Py_EQ: return binary<ops::eq>(a, b);
    case Py_NE: return binary<ops::ne>(a, b);
    case Py_LT: return binary<ops::lt>(a, b);
    case Py_LE: return binary<ops::le>(a, b);
    case Py_GT: return binary<ops::gt>(a, b);
    default: return binary<ops::ge>(a, b);
  }
}

Py_hash_t hash(PyObject* o) {
  const Py_hash_t h = static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(o) >> 4);
  return h == -1 ? -2 : h;
}

PyObject* represent(PyObject* o) {
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    return py::module_::import("tapegrad._repr").attr("tensor_repr")(py::handle(o)).release().ptr();
  });
}

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(construct)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_repr, reinterpret_cast<void*>(represent)},
    {Py_tp_hash, reinterpret_cast<void*>(hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
    {Py_tp_iter, reinterpret_cast<void*>(tensor_iter)},
    {Py_nb_add, reinterpret_cast<void*>(binary<ops::add>)},
    {Py_nb_subtract, reinterpret_cast<void*>(binary<ops::sub>)},
    {Py_nb_multiply, reinterpret_cast<void*>(binary<ops::mul>)},
    {Py_nb_true_divide, reinterpret_cast<void*>(binary<ops::div>)},
    {Py_nb_matrix_multiply, reinterpret_cast<void*>(binary<ops::matmul>)},
    {Py_nb_floor_divide, reinterpret_cast<void*>(binary<ops::floor_divide>)},
    {Py_nb_remainder, reinterpret_cast<void*>(binary<ops::remainder>)},
    {Py_nb_divmod, reinterpret_cast<void*>(quotient_and_remainder)},
    {Py_nb_power, reinterpret_cast<void*>(power)},
    {Py_nb_and, reinterpret_cast<void*>(binary<ops::bitwise_and>)},
    {Py_nb_or, reinterpret_cast<void*>(binary<ops::bitwise_or>)},
    {Py_nb_xor, reinterpret_cast<void*>(binary<ops::bitwise_xor>)},
    {Py_nb_inplace_add, reinterpret_cast<void*>(in_place<ops::add_>)},
    {Py_nb_inplace_subtract, reinterpret_cast<void*>(in_place<ops::sub_>)},
    {Py_nb_inplace_multiply, reinterpret_cast<void*>(in_place<ops::mul_>)},
    {Py_nb_inplace_true_divide, reinterpret_cast<void*>(in_place<ops::div_>)},
    {Py_nb_inplace_floor_divide, reinterpret_cast<void*>(in_place<ops::floor_divide_>)},
    {Py_nb_inplace_remainder, reinterpret_cast<void*>(in_place<ops::remainder_>)},
    {Py_nb_inplace_power, reinterpret_cast<void*>(power_in_place)},
    {Py_nb_inplace_and, reinterpret_cast<void*>(in_place<ops::bitwise_and_>)},
    {Py_nb_inplace_or, reinterpret_cast<void*>(in_place<ops::bitwise_or_>)},
    {Py_nb_inplace_xor, reinterpret_cast<void*>(in_place<ops::bitwise_xor_>)},
    {Py_nb_negative, reinterpret_cast<void*>(unary<ops::neg>)},
    {Py_nb_positive, reinterpret_cast<void*>(positive)},
    {Py_nb_absolute, reinterpret_cast<void*>(unary<ops::abs>)},
    {Py_nb_invert, reinterpret_cast<void*>(unary<ops::bitwise_not>)},
    {Py_nb_bool, reinterpret_cast<void*>(truth)},
    {Py_nb_float, reinterpret_cast<void*>(as_float)},
    {Py_nb_int, reinterpret_cast<void*>(as_int)},
    {Py_nb_index, reinterpret_cast<void*>(as_index)},
    {Py_mp_length, reinterpret_cast<void*>(tensor_length)},
    {Py_mp_subscript, reinterpret_cast<void*>(tensor_getitem)},
    {Py_mp_ass_subscript, reinterpret_cast<void*>(tensor_setitem)},
    {Py_sq_contains, reinterpret_cast<void*>(tensor_contains)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(tensor_get_buffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void*>(tensor_release_buffer)},
    {Py_tp_methods, nullptr},
    {Py_tp_getset, nullptr},
    {Py_tp_members, nullptr},
    {Py_tp_doc,
     const_cast<char*>("A multi-dimensional array of numbers that takes part in automatic differentiation.")},
    {0, nullptr},
};

void set_slot(int id, void* value) {
  for (PyType_Slot& s : slots) {
    if (s.slot == id) s.pfunc = value;
  }
}

}  // namespace

PyObject* wrap(const Tensor& t, PyTypeObject* cls) {
  // A wrapper without references is being deallocated, and Python code run by that asks for the tensor: it gets
  // another.
  if (auto* live = static_cast<PyObject*>(t->py_object); live && Py_REFCNT(live) > 0) {
    Py_INCREF(live);
    return live;
  }
  return new_wrapper(t, cls ? cls : type);
}

void track(PyObject* o) {
  auto* const self = reinterpret_cast<PyTensor*>(o);
  if (self->tracked) return;
  self->tracked = true;
  PyObject_GC_Track(o);
}

void create_tensor_type(py::module_& m) {
  static PyMemberDef members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
                                  {}};
  static std::vector<PyMethodDef> methods = op_methods();
  for (const auto& more :
       {tensor_methods(), gradient_methods(), conversion_methods(), create_methods(), random_methods()}) {
    methods.insert(methods.end(), more.begin(), more.end());
  }
  methods.push_back({});
  set_slot(Py_tp_methods, methods.data());
  set_slot(Py_tp_getset, tensor_getset());
  set_slot(Py_tp_members, members);
  PyType_Spec spec = {"tapegrad.Tensor", sizeof(PyTensor), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  m.attr("Tensor") = py::handle(reinterpret_cast<PyObject*>(type));
}

}  // namespace tg
