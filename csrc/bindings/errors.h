// C++ exceptions on their way to Python.
#pragma once
#include <pybind11/pybind11.h>

#include <new>
#include <stdexcept>
#include <string>

namespace tg {

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Sets the Python error for the exception in flight.
inline void set_python_error() noexcept {
  try {
    throw;
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "tapegrad could not allocate the memory for this operation");
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "unknown C++ exception");
  }
}

// Runs f; on an exception sets the Python error and returns `failed`.
template <class F, class R>
R guarded(R failed, F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return failed;
  }
}

}  // namespace tg
