// The line of the user's program that is running.
#include "bindings/source_line.h"

#include <pybind11/pybind11.h>

// after Python.h
#include <frameobject.h>

namespace py = pybind11;

namespace tg {

SourceLine user_line(const std::string& package) {
  auto frame =
      py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyThreadState_GetFrame(PyThreadState_Get())));
  while (frame) {
    auto* f = reinterpret_cast<PyFrameObject*>(frame.ptr());
    const auto code = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(f)));
    const char* file = PyUnicode_AsUTF8(reinterpret_cast<PyCodeObject*>(code.ptr())->co_filename);
    if (!file) throw py::error_already_set();
    const bool inside = std::string_view(file).starts_with(package) &&
                        !std::string_view(file).substr(package.size()).starts_with("examples");
    if (!inside) return {file, PyFrame_GetLineNumber(f)};
    frame = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetBack(f)));
  }
  return {};
}

}  // namespace tg
