// x[key] and x[key] = value: ints, slices, None, Ellipsis, lists, tensors and masks, as NumPy reads them.
#include <pybind11/numpy.h>

#include "bindings/arg_parser.h"
#include "bindings/convert.h"
#include "bindings/numpy_interop.h"
#include "bindings/tensor_members.h"
#include "ops/index.h"
#include "ops/promotion.h"
#include "ops/region.h"
#include "tape/recorder.h"

namespace py = pybind11;

namespace tg {
namespace {

// A list or array as a tensor.
Tensor index_tensor(PyObject* o) {
  if (py::isinstance<py::array>(py::handle(o))) return tensor_from_numpy(py::handle(o));
  Tensor t = unwrap(py::module_::import("tapegrad._core").attr("tensor")(py::handle(o)).ptr());
  return t.numel() == 0 ? ops::to(t, DType::Int64) : t;
}

// True and False, NumPy's too.
bool is_bool(PyObject* o) {
  if (PyBool_Check(o)) return true;
  if (PyLong_CheckExact(o) || PySlice_Check(o)) return false;
  return !is_tensor(o) && py::hasattr(o, "dtype") && !py::isinstance<py::array>(py::handle(o)) &&
         py::dtype::from_args(py::object(py::handle(o).attr("dtype"))).kind() == 'b';
}

// An int, also as a 0-d integer tensor or NumPy integer; bools are masks.
bool is_integer(PyObject* o) {
  if (is_bool(o)) return false;
  if (is_tensor(o)) return false;
  return PyIndex_Check(o) && !PySequence_Check(o);
}

// A mask of no dimensions: a bool, or a 0-d bool tensor.
std::optional<bool> scalar_mask(PyObject* o) {
  if (is_bool(o)) return PyObject_IsTrue(o) == 1;
  if (!is_tensor(o)) return std::nullopt;
  const Tensor& t = unwrap(o);
  if (t.rank() != 0 || t.dtype() != DType::Bool) return std::nullopt;
  refuse_reading(t, "use as a mask");
  return t.item_int64() != 0;
}

// What a key says: views are taken at once, tensor indices are collected for one gather at the end.
struct Indexed {
  Tensor view;
  ops::TensorList indices;
  bool advanced = false;
  ops::Region region;  // what the view is of the tensor
};

[[noreturn]] void fail_key(PyObject* o) {
  throw std::out_of_range(std::string("a tensor is indexed by ints, slices, None, ..., lists, integer or bool tensors; "
                                      "got ") +
                          Py_TYPE(o)->tp_name);
}

int64_t dims_taken(PyObject* o) {
  if (o == Py_None || o == Py_Ellipsis || is_bool(o)) return 0;
  if (is_tensor(o) && unwrap(o).dtype() == DType::Bool) return unwrap(o).rank();
  return 1;
}

ops::Range to_range(PyObject* o, int64_t size) {
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(o, &start, &stop, &step) < 0) throw py::error_already_set();
  if (step < 0) throw std::invalid_argument("slices with a negative step are not supported; use an index tensor");
  const Py_ssize_t length = PySlice_AdjustIndices(size, &start, &stop, step);
  return {start, length, step};
}

Tensor take_range(const Tensor& t, int64_t dim, const ops::Range& r) {
  if (r.length == t.size(static_cast<int>(dim)) && r.step == 1) return t;
  return ops::slice(t, dim, r.start, r.length, r.step);
}
Tensor take_slice(const Tensor& t, int64_t dim, PyObject* o) {
  return take_range(t, dim, to_range(o, t.size(static_cast<int>(dim))));
}

// x[key] for a key of ints and slices, the usual ones; an empty tensor for others.
Tensor plain_view(const Tensor& t, PyObject* key) {
  const bool many = PyTuple_Check(key);
  PyObject* const* items = many ? &PyTuple_GET_ITEM(key, 0) : &key;
  const Py_ssize_t n = many ? PyTuple_GET_SIZE(key) : 1;
  if (n > t.rank()) return {};
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!PyLong_CheckExact(items[i]) && !PySlice_Check(items[i])) return {};
  }
  Tensor view = t;
  int64_t dim = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (PySlice_Check(items[i]))
      view = take_slice(view, dim++, items[i]);
    else
      view = ops::select(view, dim, to_int64(items[i]));
  }
  return view;
}

// The next `count` dimensions as they are.
void take_whole(Indexed& x, int64_t& dim, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x.region.push_back({0, x.view.size(static_cast<int>(dim++)), 1});
}

void take_index(Indexed& x, int64_t dim, int64_t i) {
  const int64_t size = x.view.size(static_cast<int>(dim));
  x.view = ops::select(x.view, dim, i);
  x.region.push_back({i < 0 ? i + size : i, 1, 1});
}

void apply_key(Indexed& x, PyObject* o, int64_t& dim, int64_t skip) {
  if (o == Py_None) {
    x.view = ops::unsqueeze(x.view, dim++);
    x.indices.emplace_back();
    return;
  }
  if (o == Py_Ellipsis) {
    take_whole(x, dim, skip);
    for (int64_t i = 0; i < skip; ++i) x.indices.emplace_back();
    return;
  }
  if (const auto mask = scalar_mask(o)) {  // a new dimension of size 0 or 1
    x.view = ops::unsqueeze(x.view, dim++);
    x.indices.push_back(Tensor::empty({*mask ? 1 : 0}, DType::Int64));
    if (*mask) *x.indices.back().data<int64_t>() = 0;
    x.advanced = true;
    return;
  }
  if (dim >= x.view.rank()) {
    throw std::out_of_range("too many indices for a tensor of " + std::to_string(x.view.rank()) + " dimensions");
  }
  if (is_integer(o)) {
    take_index(x, dim, to_int64(o));
  } else if (PySlice_Check(o)) {
    x.region.push_back(to_range(o, x.view.size(static_cast<int>(dim))));
    x.view = take_range(x.view, dim++, x.region.back());
    x.indices.emplace_back();
  } else if (is_tensor(o)) {
    const Tensor& t = unwrap(o);
    if (t.rank() == 0 && is_integral(t.dtype()) && t.dtype() != DType::Bool) {
      refuse_reading(t, "use as an index of a view");
      take_index(x, dim, t.item_int64());
      return;
    }
    x.indices.push_back(t);
    take_whole(x, dim, std::min<int64_t>(dims_taken(o), x.view.rank() - dim));
    x.advanced = true;
  } else {
    fail_key(o);
  }
}

// The parts of a key, lists and arrays among them made tensors once.
std::vector<py::object> parts(PyObject* key) {
  std::vector<py::object> out;
  const auto add = [&](PyObject* o) {
    const bool converts = PyList_Check(o) || PyRange_Check(o) || (o != key && PyTuple_Check(o)) ||
                          py::isinstance<py::array>(py::handle(o));
    out.push_back(converts ? py::cast(index_tensor(o)) : py::reinterpret_borrow<py::object>(o));
  };
  if (!PyTuple_Check(key)) {
    add(key);
  } else {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); ++i) add(PyTuple_GET_ITEM(key, i));
  }
  return out;
}

Indexed resolve(const Tensor& t, PyObject* key) {
  Indexed x{t, {}, false, {}};
  const std::vector<py::object> items = parts(key);
  int64_t taken = 0, ellipses = 0;
  for (const py::object& item : items) {
    taken += dims_taken(item.ptr());
    ellipses += item.ptr() == Py_Ellipsis;
  }
  if (ellipses > 1) throw std::out_of_range("an index can only have one ellipsis ('...')");
  if (taken > t.rank()) {
    throw std::out_of_range("too many indices (" + std::to_string(taken) + ") for a tensor of shape " +
                            to_string(t.shape()));
  }
  int64_t dim = 0;
  for (const py::object& item : items) apply_key(x, item.ptr(), dim, t.rank() - taken);
  take_whole(x, dim, x.view.rank() - dim);
  return x;
}

// x[key] = value where a gradient is wanted: what is written is x itself, no view of it.
void assign_recorded(const Tensor& t, PyObject* key, const Tensor& source) {
  Indexed x = resolve(t, key);
  Tensor value = source;
  if (x.advanced) {
    Tensor part = x.view.is(t) ? t : ops::clone(x.view);
    ops::index_put_(part, x.indices, value);
    if (part.is(t)) return;
    value = part;
  }
  const Dims shape = x.view.shape();
  value = without_lead(value, shape.size());
  if (!broadcasts_to(value.shape(), shape)) {
    throw std::invalid_argument("a value of shape " + to_string(value.shape()) +
                                " does not broadcast to the selected shape " + to_string(shape));
  }
  x.view = {};
  Dims lengths;
  for (const ops::Range& r : x.region) lengths.push_back(r.length);
  ops::region_put_(t, x.region, ops::reshape(ops::expand(cast(value, t.dtype()), shape), lengths));
}

void assign(const Tensor& t, PyObject* key, const Tensor& source) {
  if (grad_enabled() && is_float(t.dtype()) && (t.requires_grad() || source.requires_grad()))
    return assign_recorded(t, key, source);
  if (const Tensor view = plain_view(t, key)) {
    ops::copy_(view, without_lead(source, view.rank()));
    return;
  }
  const Indexed x = resolve(t, key);
  if (x.advanced)
    ops::index_put_(x.view, x.indices, source);
  else
    ops::copy_(x.view, without_lead(source, x.view.rank()));
}

}  // namespace

PyObject* tensor_getitem(PyObject* self, PyObject* key) {
  PyObject* const result = guarded(
      static_cast<PyObject*>(nullptr),
      [&] {
        const Tensor& t = unwrap(self);
        Tensor view = plain_view(t, key);
        if (!view) {
          Indexed x = resolve(t, key);
          view = x.advanced ? ops::index(x.view, x.indices) : x.view;
        }
        return wrap(view.is(t) ? ops::view(t, t.shape()) : view);
      },
      "index");
  if (result) [[likely]]
    return result;
  return call_batched("__getitem__", self, &key, 1, nullptr);
}

int tensor_setitem(PyObject* self, PyObject* key, PyObject* value) {
  return guarded(
      -1,
      [&] {
        if (!value) throw TypeError("elements of a tensor cannot be deleted");
        const Tensor& t = unwrap(self);
        const Tensor source = is_operand(value) ? to_operand(value) : index_tensor(value);
        if (grad_enabled() && t->requires_grad) {
          throw std::runtime_error("a leaf tensor that requires grad (" + describe(t) +
                                   ") cannot be modified in place; do it under no_grad()");
        }
        assign(t, key, source);
        return 0;
      },
      "index");
}

Py_ssize_t tensor_length(PyObject* self) {
  return guarded(Py_ssize_t{-1}, [&] {
    const Tensor& t = unwrap(self);
    if (t.rank() == 0) throw TypeError("len() of a 0-d tensor");
    return static_cast<Py_ssize_t>(t.size(0));
  });
}

PyObject* tensor_iter(PyObject* self) {
  return guarded(static_cast<PyObject*>(nullptr), [&] {
    const Tensor& t = unwrap(self);
    if (t.rank() == 0) throw TypeError("iteration over a 0-d tensor");
    py::list rows;
    for (int64_t i = 0; i < t.size(0); ++i) rows.append(ops::select(t, 0, i));
    return PyObject_GetIter(rows.ptr());
  });
}

int tensor_contains(PyObject* self, PyObject* value) {
  return guarded(-1, [&] {
    if (!is_operand(value)) throw TypeError("'in' compares elements with a number or tensor");
    const Tensor found = ops::any(ops::eq(unwrap(self), to_operand(value)));
    refuse_reading(found, "'in'");
    return found.item_int64() != 0 ? 1 : 0;
  });
}

}  // namespace tg
