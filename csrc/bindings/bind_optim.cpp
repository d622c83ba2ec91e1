// Optimizer steps over lists of tensors, and what their Python side asks of its lists of parameters.
#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "tape/recorder.h"

namespace py = pybind11;
using namespace py::literals;

namespace tg {
namespace {

// The options of a parameter group by name, read from its dict at every step. A tuple counts as its elements, one of
// the `choices` that an option has as its position.
class Options : public Cell {
 public:
  Options(py::dict group, const py::sequence& names, py::dict choices)
      : group_(std::move(group)), choices_(std::move(choices)) {
    for (const py::handle name : names) {
      PyObject* const value = find(name.ptr());
      options_.push_back({py::reinterpret_borrow<py::object>(name),
                          is_list(value) ? PySequence_Fast_GET_SIZE(value) : 1, choices_.contains(name)});
      values.resize(values.size() + static_cast<size_t>(options_.back().length));
    }
    refresh();
  }
  ~Options() override {  // of a program, it may die without the GIL
    const py::gil_scoped_acquire gil;
    options_.clear();
    group_ = choices_ = py::object();
  }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  void refresh() override {
    double* out = values.data();
    for (const auto& [name, length, chosen] : options_) {
      PyObject* const value = find(name.ptr());
      if (chosen || !read_plain(value, length, out)) {
        out = read(name, py::reinterpret_borrow<py::object>(value), length, out);
      } else {
        out += length;
      }
    }
  }

 private:
  struct Option {
    py::object name;
    Py_ssize_t length;
    bool chosen;  // by name, among its choices
  };

  // A float, a bool or a tuple of floats, as options mostly are; false for others.
  static bool read_plain(PyObject* value, Py_ssize_t length, double* out) {
    if (PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) == length) {
      for (Py_ssize_t i = 0; i < length; ++i) {
        if (!read_plain(PyTuple_GET_ITEM(value, i), 1, out + i)) return false;
      }
      return true;
    }
    if (length != 1 || !(PyFloat_CheckExact(value) || PyBool_Check(value))) return false;
    *out = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : value == Py_True;
    return true;
  }

  static bool is_list(PyObject* value) { return PyTuple_Check(value) || PyList_Check(value); }

  PyObject* find(PyObject* name) const {
    PyObject* const value = PyDict_GetItemWithError(group_.ptr(), name);
    if (value) return value;
    if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, name);
    throw py::error_already_set();
  }

  double* read(const py::object& name, const py::object& value, Py_ssize_t length, double* out) const {
    if (PyObject* const choices = PyDict_GetItem(choices_.ptr(), name.ptr())) {
      const Py_ssize_t at = PySequence_Index(choices, value.ptr());
      if (at < 0) {
        PyErr_Clear();
        throw TypeError("option " + std::string(py::repr(name)) + " must be one of " + std::string(py::repr(choices)) +
                        ", got " + std::string(py::repr(value)));
      }
      *out = static_cast<double>(at);
      return out + 1;
    }
    if (!is_list(value.ptr()) && length == 1) {
      *out = number(name, value);
      return out + 1;
    }
    if (!is_list(value.ptr()) || PySequence_Fast_GET_SIZE(value.ptr()) != length) {
      throw TypeError("option " + std::string(py::repr(name)) + " must be " + std::to_string(length) +
                      " numbers, got " + std::string(py::repr(value)));
    }
    const py::tuple items(value);  // of a list, a copy that stays as long
    for (const py::handle item : items) *out++ = number(name, item);
    return out;
  }

  static double number(const py::object& name, py::handle value) {
    PyObject* const o = value.ptr();
    if (PyFloat_Check(o)) return PyFloat_AS_DOUBLE(o);
    if (PyBool_Check(o)) return o == Py_True;
    if (is_tensor(o) && unwrap(o).numel() == 1) return unwrap(o).item_double();
    const double v = PyLong_CheckExact(o) ? PyLong_AsDouble(o) : PyFloat_AsDouble(o);
    if (v != -1 || !PyErr_Occurred()) return v;
    py::error_already_set error;
    if (!is_tensor(o) && !error.matches(PyExc_TypeError) && !error.matches(PyExc_ValueError)) throw error;
    throw TypeError("option " + std::string(py::repr(name)) + " must be a number, got " + std::string(py::repr(value)));
  }

  py::object group_, choices_;
  std::vector<Option> options_;
};

}  // namespace

template <>
struct FromPython<std::vector<ops::TensorList>> {
  static std::vector<ops::TensorList> convert(const Argument& a) {
    if (!PyList_Check(a.value)) a.fail("a list of lists of tensors");
    std::vector<ops::TensorList> out(static_cast<size_t>(PyList_GET_SIZE(a.value)));
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] =
          FromPython<ops::TensorList>::convert({a.op, a.name, PyList_GET_ITEM(a.value, static_cast<Py_ssize_t>(i))});
    }
    return out;
  }
};
template <>
struct FromPython<std::shared_ptr<Cell>> {
  static std::shared_ptr<Cell> convert(const Argument& a) {
    py::detail::make_caster<std::shared_ptr<Options>> options;
    if (a.value == Py_None || !options.load(a.value, false)) a.fail("options");
    return py::detail::cast_op<std::shared_ptr<Options>&>(options);
  }
};

namespace {

struct OptimizerRow {
  static constexpr const char* params = "params, grads, state, step, options";
};
#define OPTIMIZER(NAME, ...)                   \
  struct NAME : OptimizerRow {                 \
    static constexpr const char* name = #NAME; \
    static constexpr auto fn = &ops::NAME;     \
  };
#include "ops/ops.def"

const Tensor& tensor_at(const py::list& list, Py_ssize_t i) {
  PyObject* const item = PyList_GET_ITEM(list.ptr(), i);
  if (!is_tensor(item)) throw TypeError("expected tensors");
  return unwrap(item);
}

struct with_gradients {
  static constexpr const char *name = "_with_gradients", *params = "params";
  static py::object run(const py::object& tensors) {
    py::list all(tensors), grads, having;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all.ptr()); ++i) {
      const Tensor& t = tensor_at(all, i);
      if (const Ref<TensorImpl>& grad = grad_of(*t.ref())) grads.append(Tensor(grad));
    }
    if (grads.size() == all.size()) return py::make_tuple(all, grads);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all.ptr()); ++i) {
      if (tensor_at(all, i)->grad) having.append(py::handle(PyList_GET_ITEM(all.ptr(), i)));
    }
    return py::make_tuple(having, grads);
  }
  static constexpr auto fn = &run;
};

struct same_objects {
  static constexpr const char *name = "_same_objects", *params = "a, b";
  static bool run(const py::object& a, const py::object& b) {
    const py::list x(a), y(b);
    const Py_ssize_t n = PyList_GET_SIZE(x.ptr());
    return n == PyList_GET_SIZE(y.ptr()) &&
           std::equal(PySequence_Fast_ITEMS(x.ptr()), PySequence_Fast_ITEMS(x.ptr()) + n,
                      PySequence_Fast_ITEMS(y.ptr()));
  }
  static constexpr auto fn = &run;
};

}  // namespace

void bind_optim(py::module_& m) {
  py::class_<Options, std::shared_ptr<Options>>(m, "_Options", "The options of a parameter group that a step reads.")
      .def(py::init<py::dict, py::sequence, py::dict>(), "group"_a, "names"_a, "choices"_a = py::dict());
  m.def(
      "_refuse_capture",
      [](const std::string& what) {
        if (recorder) recorder->refuse(what);
      },
      "what"_a, "Within a compiled function: an error, or the end of its capture.");
  add_functions(
      m, {
#define OPTIMIZER(NAME, RULE, DOC) \
  function<NAME>(DOC " In place, over lists of tensors; step: what has been counted so far, which is raised."),
#include "ops/ops.def"
             function<with_gradients>("The tensors of a list that have a gradient, and their gradients: two lists, "
                                      "the first the given one where all have."),
             function<same_objects>("Whether two lists hold the same objects in the same order.")});
}

}  // namespace tg
