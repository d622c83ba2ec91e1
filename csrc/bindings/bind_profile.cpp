// The profiler's record and the machine's peaks, for tapegrad/profiler.py.
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "ops/peak.h"
#include "tape/profile.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

py::tuple to_tuple(const ProfileEvent& e) {
  const py::object shape = e.range ? py::none() : size_object(e.shape);
  const py::object dtype = e.range ? py::none() : py::reinterpret_borrow<py::object>(dtype_object(e.dtype));
  return py::make_tuple(e.name, e.range, e.backward, e.thread, e.start, e.duration, e.flops, e.bytes, shape, dtype);
}

}  // namespace

void bind_profile(py::module_& m) {
  m.def("_profile_start", &start_profile, "Begins to record events.");
  m.def(
      "_profile_stop",
      [] {
        const Profile profile = stop_profile();
        py::list events;
        for (const auto& chunk : profile.chunks) {
          for (const ProfileEvent& e : chunk) events.append(to_tuple(e));
        }
        return events;
      },
      "Ends the record: a list of (name, is_range, is_backward, thread, start, duration, flops, bytes, shape, dtype).");
  m.def("_profile_clock", &profile_clock, "The profiler's clock in ns.");
  m.def("_profile_range", &profile_range, "name"_a, "start"_a, "Records a range that began at `start` and ends now.");
  m.def(
      "_measure_peak",
      [] {
        const Peak peak = measure_peak();
        py::list bandwidths;
        for (const Bandwidth& b : peak.bandwidths) bandwidths.append(py::make_tuple(b.bytes, b.rate));
        return py::make_tuple(peak.float32, peak.float64, bandwidths);
      },
      "(flops / s in float32, in float64, [(bytes of the working set, bytes / s), ...]), of the current threads.");
}

}  // namespace tg
