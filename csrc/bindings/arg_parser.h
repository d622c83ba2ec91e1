// Calls a C++ function from Python: names and defaults come from a string such as "input, dim=None, *, dtype=None",
// the types from the function itself.
#pragma once
#include <array>
#include <tuple>
#include <utility>

#include "bindings/convert.h"

namespace tg {

// One parameter list, parsed once. Defaults are kept as Python objects.
class Parameters {
 public:
  Parameters(const char* op, const char* spec);
  int size() const { return count_; }
  const char* op() const { return op_; }
  const char* name(int i) const { return names_[i].c_str(); }
  bool optional(int i) const { return defaults_[i] == Py_None; }
  // Fills values[0..size) with borrowed objects. `rest` keeps a tuple of varargs alive ("*shape").
  void bind(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords, PyObject** values,
            pybind11::object& rest) const;
  // "name(signature)\n--\n\ndoc", the form from which Python makes __text_signature__; lives as long as the process.
  const char* docstring(const char* name, const char* doc, bool method) const;

 private:
  [[noreturn]] void fail(const std::string& why) const;
  static constexpr int kMax = 12;
  const char* op_;
  std::string spec_;
  std::string names_[kMax];
  PyObject* interned_[kMax] = {};
  PyObject* defaults_[kMax] = {};
  int count_ = 0, positional_ = 0, varargs_ = -1;
};

// A call that failed may be one on the batched tensors of func.vmap, whose class then answers it; null: it is none.
PyObject* call_batched(const char* op, PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords);

// Calls fn with arguments from Python: one piece of code for all functions of one type. A tensor that comes first may
// be given as a number only where `number_first`.
template <class R, class... A>
struct Caller {
  using Values = std::tuple<std::remove_cvref_t<A>...>;
  static __attribute__((noinline)) PyObject* call(R (*fn)(A...), const Parameters& parameters, bool number_first,
                                                  PyObject* self, PyObject* const* args, Py_ssize_t n,
                                                  PyObject* keywords) noexcept {
    try {
      PyObject* values[sizeof...(A)];
      pybind11::object rest;
      parameters.bind(self, args, n, keywords, values, rest);
      return invoke(fn, parameters, number_first, values, std::index_sequence_for<A...>{});
    } catch (...) {
      set_python_error(parameters.op());
      return call_batched(parameters.op(), self, args, n, keywords);
    }
  }

 private:
  template <size_t... I>
  static PyObject* invoke(R (*fn)(A...), const Parameters& parameters, bool number_first, PyObject** values,
                          std::index_sequence<I...>) {
    if constexpr (std::is_void_v<R>) {
      fn(convert<I>(parameters, number_first, values)...);
      Py_RETURN_NONE;
    } else {
      return to_python(fn(convert<I>(parameters, number_first, values)...));
    }
  }
  template <size_t I>
  static auto convert(const Parameters& parameters, bool number_first, PyObject** values) {
    using T = std::tuple_element_t<I, Values>;
    const Argument a{parameters.op(), parameters.name(static_cast<int>(I)), values[I]};
    if constexpr (std::is_same_v<T, Tensor>) {
      if (a.value == Py_None && !parameters.optional(static_cast<int>(I))) a.fail("a tensor");
      if (I == 0 && !number_first && (PyFloat_Check(a.value) || PyLong_Check(a.value))) a.fail("a tensor");
    }
    return FromPython<T>::convert(a);
  }
};
template <class R, class... A>
PyObject* call_function(R (*fn)(A...), const Parameters& parameters, bool number_first, PyObject* self,
                        PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
  return Caller<R, A...>::call(fn, parameters, number_first, self, args, n, keywords);
}

// Row: static name, params, and `fn`, a pointer to the C++ function. There are hundreds: what a row adds is kept small.
template <class Row>
struct Bound {
  // Parsed where the function is defined, as at a first call two threads could deadlock over the GIL and a lock.
  static inline const Parameters* parameters = nullptr;
  static PyObject* method(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
    bool number_first = false;
    if constexpr (requires { Row::number_first; }) number_first = Row::number_first;
    return call_function(Row::fn, *parameters, number_first, self, args, n, keywords);
  }
  static PyObject* function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* keywords) {
    return method(nullptr, args, n, keywords);
  }
};

inline const Parameters& parsed(const Parameters*& parameters, const char* op, const char* spec) {
  if (!parameters) parameters = new Parameters(op, spec);
  return *parameters;
}

// The definition of a module's function.
template <class Row>
PyMethodDef function(const char* doc) {
  return {Row::name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&Bound<Row>::function)),
          METH_FASTCALL | METH_KEYWORDS,
          parsed(Bound<Row>::parameters, Row::name, Row::params).docstring(Row::name, doc, false)};
}
// The definition of a method of the tensor type.
template <class Row>
PyMethodDef define(const char* doc, const char* name = Row::name) {
  parsed(Bound<Row>::parameters, Row::name, Row::params);
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&Bound<Row>::method)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}
void add_functions(pybind11::module_& m, std::vector<PyMethodDef> functions);

}  // namespace tg
