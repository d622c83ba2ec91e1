// C++ exceptions on their way to Python.
#pragma once
#include <cxxabi.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "tape/recorder.h"

namespace tg {

inline PyObject* capture_error = nullptr;  // tapegrad.CaptureError, set by bind_program()

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// "op: message", unless the message names the op already.
inline std::string naming(const char* op, const std::string& message) {
  if (!op || message.compare(0, std::char_traits<char>::length(op), op) == 0) return message;
  return std::string(op) + ": " + message;
}

// The op's name in front of the message of a TypeError or ValueError that Python raised.
inline void restore_naming(const char* op, pybind11::error_already_set& e) {
  const pybind11::object type = e.type();
  const bool plain = type.is(pybind11::handle(PyExc_TypeError)) || type.is(pybind11::handle(PyExc_ValueError));
  if (!op || !plain) return e.restore();
  std::string message;
  try {
    message = naming(op, pybind11::str(e.value()));
  } catch (pybind11::error_already_set&) {  // the message itself cannot be printed
    return e.restore();
  }
  PyErr_SetString(type.ptr(), message.c_str());
}

// For a thread that wants the interpreter's lock after its end: CPython ends it by unwinding its stack, which frames
// with noexcept turn into the end of the process. It stays here instead, as from Python 3.14 on.
[[noreturn]] inline void stay_forever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Sets the Python error for the exception in flight, raised while `op` ran (null: no op).
inline void set_python_error(const char* op) noexcept {
  try {
    throw;
#ifdef __GLIBCXX__
  } catch (abi::__forced_unwind&) {
    stay_forever();
#endif
  } catch (pybind11::error_already_set& e) { restore_naming(op, e); } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, naming(op, e.what()).c_str());
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, naming(op, e.what()).c_str());
  } catch (const std::out_of_range& e) {
    PyErr_SetString(PyExc_IndexError, naming(op, e.what()).c_str());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, naming(op, e.what()).c_str());
  } catch (const CaptureError& e) { PyErr_SetString(capture_error, e.what()); } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, naming(op, e.what()).c_str());
  } catch (...) { PyErr_SetString(PyExc_RuntimeError, naming(op, "unknown C++ exception").c_str()); }
}

// Runs f; on an exception sets the Python error and returns `failed`.
template <class F, class R>
R guarded(R failed, F&& f, const char* op = nullptr) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error(op);
    return failed;
  }
}

}  // namespace tg
