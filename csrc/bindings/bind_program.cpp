// Capture and replay, as python/tapegrad/_compile.py drives them.
#include <pybind11/numpy.h>

#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "bindings/explain.h"
#include "bindings/source_line.h"
#include "bindings/used_objects.h"
#include "program/plan.h"

#include <map>

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

int64_t structure_version = 0;     // counts changes of modules and optimizers that a capture takes for granted
PyObject* used_objects = nullptr;  // list of the running capture, borrowed

ops::TensorList tensors_of(const py::list& list) {
  ops::TensorList out;
  for (const py::handle item : list) {
    if (!is_tensor(item.ptr())) throw TypeError("expected a list of tensors");
    out.push_back(unwrap(item.ptr()));
  }
  return out;
}

py::list list_of(const std::vector<Tensor>& tensors) {
  py::list out(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), wrap(tensors[i]));
  }
  return out;
}

// The results that more refers to than the list and the structure they came in.
std::vector<Tensor> held_elsewhere(const py::list& outputs) {
  std::map<PyObject*, Py_ssize_t> times;
  for (const py::handle o : outputs) ++times[o.ptr()];
  std::vector<Tensor> out;
  for (const auto& [o, n] : times) {
    if (Py_REFCNT(o) > 2 * n) out.push_back(unwrap(o));
  }
  return out;
}

// One capture: begins when it is made, ends with finish() or close().
struct PyCapture {
  PyCapture(const py::list& arguments, std::string package, bool lenient)
      : capture(tensors_of(arguments), [package = std::move(package)] { return user_line(package); }, lenient) {
    used_objects = used.ptr();
  }
  ~PyCapture() { close(); }
  void close() {
    if (used_objects == used.ptr()) used_objects = nullptr;
    capture.stop();
  }
  py::tuple finish(const py::list& outputs, bool keep_grads) {
    std::string problem;
    const auto held = [&] { return held_elsewhere(outputs); };
    const auto collect = [] { PyGC_Collect(); };
    std::shared_ptr<Program> program = capture.finish(tensors_of(outputs), keep_grads, held, +collect, &problem);
    close();
    return py::make_tuple(program, problem, capture.failed(), used);
  }
  py::list used;
  Capture capture;
};

// Sorts a call's arguments: returns (key, tensors). The key tells calls apart that need programs of their own: layout
// of the tensors, every other argument by value, and the modes that change what runs.
struct sort_arguments {
  static constexpr const char *name = "_sort_arguments", *params = "args, kwargs";
  static void add(const py::handle value, py::list& key, py::list& tensors) {
    PyObject* const o = value.ptr();
    if (is_tensor(o)) {
      tensors.append(value);
      key.append(layout(unwrap(o)));
      if (Py_TYPE(o) != tensor_type()) key.append(identity(o));  // a Parameter: the very one
    } else if (PyTuple_CheckExact(o) || PyList_CheckExact(o)) {
      key.append(py::int_(PySequence_Fast_GET_SIZE(o)));
      key.append(py::handle(reinterpret_cast<PyObject*>(Py_TYPE(o))));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) add(PySequence_Fast_GET_ITEM(o, i), key, tensors);
    } else if (PyDict_CheckExact(o)) {
      key.append(py::int_(PyDict_GET_SIZE(o)));
      for (const auto& [k, v] : py::reinterpret_borrow<py::dict>(value)) {
        key.append(k);
        add(v, key, tensors);
      }
    } else {
      plain(value, key);
    }
  }
  static void plain(const py::handle value, py::list& key) {
    PyObject* const o = value.ptr();
    if (py::isinstance<py::array>(value)) {
      throw TypeError("compile: an argument is a NumPy array, whose values would be frozen; pass tg.from_numpy(array)");
    }
    key.append(py::handle(reinterpret_cast<PyObject*>(Py_TYPE(o))));
    if (PyFloat_Check(o)) {  // by its bits: 0.0 is not -0.0, and nan is nan
      const double number = PyFloat_AS_DOUBLE(o);
      key.append(py::bytes(reinterpret_cast<const char*>(&number), sizeof number));
      return;
    }
    const bool simple = o == Py_None || PyLong_Check(o) || PyUnicode_Check(o) || PyBytes_Check(o);
    key.append(simple ? py::reinterpret_borrow<py::object>(value)
                      : py::object(py::int_(reinterpret_cast<intptr_t>(o))));
  }
  static py::bytes layout(const Tensor& t) {
    std::string s;
    const auto put = [&](int64_t v) { s.append(reinterpret_cast<const char*>(&v), sizeof v); };
    put(static_cast<int64_t>(t.dtype()) * 2 + t.requires_grad());
    for (int64_t v : t.shape()) put(v);
    for (int64_t v : t.strides()) put(v);
    return py::bytes(s);
  }
  static py::int_ identity(PyObject* o) { return py::int_(reinterpret_cast<intptr_t>(o)); }
  static py::object run(const py::object& args, const py::object& kwargs) {
    if (!PyTuple_Check(args.ptr()) || !PyDict_Check(kwargs.ptr())) throw TypeError("expected a tuple and a dict");
    if (recorder) return py::none();
    py::list key, tensors;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args.ptr()); ++i) add(PyTuple_GET_ITEM(args.ptr(), i), key, tensors);
    if (PyDict_GET_SIZE(kwargs.ptr())) add(kwargs, key, tensors);
    // Tensors on one memory, and where they lie in it.
    for (size_t i = 1; i < tensors.size(); ++i) {
      for (size_t k = 0; k < i; ++k) {
        const Tensor &a = unwrap(PyList_GET_ITEM(tensors.ptr(), static_cast<Py_ssize_t>(i))),
                     &b = unwrap(PyList_GET_ITEM(tensors.ptr(), static_cast<Py_ssize_t>(k)));
        if (a->storage == b->storage) key.append(py::make_tuple(i, k, a->data - b->data));
      }
    }
    key.append(py::int_((grad_enabled() ? 1 : 0) + (default_dtype() == DType::Float64 ? 2 : 0)));
    return py::make_tuple(py::tuple(key), tensors);
  }
  static constexpr auto fn = &run;
};

}  // namespace

void structure_changed() { ++structure_version; }
void note_use(PyObject* o) {
  if (used_objects && recorder) PyList_Append(used_objects, o);
}

void bind_program(py::module_& m) {
  capture_error = PyErr_NewExceptionWithDoc("tapegrad.CaptureError",
                                            "A compiled function does something that its replay could not do again.",
                                            PyExc_RuntimeError, nullptr);
  m.attr("CaptureError") = py::handle(capture_error);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const CaptureError& e) { PyErr_SetString(capture_error, e.what()); }
  });
  py::class_<Program, std::shared_ptr<Program>>(m, "_Program", "A captured run.")
      .def(
          "prepare",
          [](Program& p) {
            plan(p);
            p.prepare();
          },
          "Plans the program; it can be replayed then.")
      .def(
          "replay",
          [](Program& p, const py::list& arguments) -> py::object {
            const ops::TensorList tensors = tensors_of(arguments);
            if (!p.fits(tensors)) return py::none();
            return list_of(p.replay(tensors));
          },
          "arguments"_a, "The outputs of one run, or None where something has changed that needs a new capture.")
      .def("explain", &explain, "What _explain.py shows, as numbers and texts.")
      .def_property_readonly("instructions", [](const Program& p) { return p.instructions.size(); });
  py::class_<PyCapture>(m, "_Capture", "Records what runs in this thread from its construction on.")
      .def(py::init<const py::list&, std::string, bool>(), "arguments"_a, "package"_a, "lenient"_a)
      .def("finish", &PyCapture::finish, "outputs"_a, "keep_grads"_a,
           "Ends the capture: (program or None, the problem, whether for good, the modules and optimizers used).")
      .def("close", &PyCapture::close, "Ends the capture of a run that failed.");
  m.def(
      "_outside_capture",
      [](const py::function& f) {
        const CapturePause pause;
        return f();
      },
      "function"_a, "Calls the function; a running capture does not see what it does.");
  m.def("_structure_version", [] { return structure_version; }, "Counts changes of modules and optimizers.");
  add_functions(m, {function<sort_arguments>("(key, tensors) of a call's arguments; None inside of a capture.")});
  m.def("_structure_changed", &structure_changed, "To be called when a module or optimizer is changed.");
  m.def(
      "_note_use", [](const py::object& o) { note_use(o.ptr()); }, "object"_a,
      "Tells a running capture of a module or optimizer.");
}

}  // namespace tg
