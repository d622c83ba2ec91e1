// What fit() drives an epoch with: batches of rows in memory, and a stop where the loss is not finite.
#include "bindings/bindings.h"
#include "bindings/tensor_type.h"
#include "ops/finite.h"
#include "program/epoch.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {

void bind_epoch(py::module_& m) {
  static PyObject* const not_finite = PyErr_NewExceptionWithDoc(
      "tapegrad._core._NotFinite", "The loss, its argument, is nan or infinite.", PyExc_FloatingPointError, nullptr);
  m.attr("_NotFinite") = py::handle(not_finite);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const NotFinite& e) { PyErr_SetObject(not_finite, py::float_(e.value).ptr()); }
  });
  m.def("_require_finite", &ops::require_finite, "x"_a.none(false),
        "The one value of x, outside the graph. Raises _NotFinite, also in a replay, before what follows is run.");
  py::class_<Batches>(m, "_Batches", "Batches of rows of tensors, as many in each.")
      .def(py::init<std::vector<Tensor>, int64_t>(), "data"_a, "size"_a)
      .def(
          "run", &Batches::run, "program"_a, "order"_a, "begin"_a, "end"_a, "seconds"_a,
          "Replays the program over batches of rows [begin, end), in an order or as they lie (None), until the time is "
          "spent. False: it does not fit.")
      .def_property_readonly("done", &Batches::done, "The number of batches of the last run.")
      .def_property_readonly("results", &Batches::results, "What they returned: for each output a tensor of rows.")
      .def_property_readonly("arguments", &Batches::arguments, "Tensors as the program takes them.");
}

}  // namespace tg
