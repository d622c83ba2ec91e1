// Parsing of parameter lists, and binding of positional and keyword arguments to them.
#include "bindings/arg_parser.h"

#include <pybind11/eval.h>

#include <map>

namespace py = pybind11;

namespace tg {
namespace {

// The value of a default. There are few of them for hundreds of parameters, and compiling one takes Python 10 us.
PyObject* default_value(const std::string& text) {
  static auto* const known = new std::map<std::string, PyObject*>;
  PyObject*& value = (*known)[text];
  if (!value) value = py::eval(text).release().ptr();
  return value;
}

}  // namespace

Parameters::Parameters(const char* op, const char* spec) : op_(op), spec_(spec) {
  bool keyword_only = false;
  size_t at = 0;
  while (at < spec_.size()) {
    size_t end = at, depth = 0;
    while (end < spec_.size() && (spec_[end] != ',' || depth)) {
      depth += spec_[end] == '(';
      depth -= spec_[end] == ')';
      ++end;
    }
    std::string item = spec_.substr(at, end - at);
    at = end + 1;
    item.erase(0, item.find_first_not_of(' '));
    if (item == "*") {
      keyword_only = true;
      continue;
    }
    if (item[0] == '*') {
      varargs_ = count_;
      item.erase(0, 1);
    }
    const size_t equals = item.find('=');
    names_[count_] = item.substr(0, equals);
    interned_[count_] = PyUnicode_InternFromString(names_[count_].c_str());
    if (equals != std::string::npos) defaults_[count_] = default_value(item.substr(equals + 1));
    ++count_;
    if (!keyword_only) positional_ = count_;
  }
}

void Parameters::fail(const std::string& why) const { throw TypeError(std::string(op_) + "(" + spec_ + "): " + why); }

const char* Parameters::docstring(const char* name, const char* doc, bool method) const {
  std::string signature = "(" + spec_ + ")";
  if (method) signature = "($self" + signature.substr(signature.find_first_of(",)"));
  return (new std::string(std::string(name) + signature + "\n--\n\n" + doc))->c_str();
}

void add_functions(py::module_& m, std::vector<PyMethodDef> functions) {
  functions.push_back({});
  auto* definitions = new std::vector<PyMethodDef>(std::move(functions));  // the functions point into it
  if (PyModule_AddFunctions(m.ptr(), definitions->data()) < 0) throw py::error_already_set();
}

void Parameters::bind(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* keywords, PyObject** values,
                      py::object& rest) const {
  for (int i = 0; i < count_; ++i) values[i] = nullptr;
  int next = 0;
  if (self) values[next++] = self;
  Py_ssize_t given = 0;
  while (given < n && next < positional_) {
    if (next == varargs_ && !(n - given == 1 && !PyIndex_Check(args[given]))) {
      rest = py::reinterpret_steal<py::object>(PyTuple_New(n - given));
      for (Py_ssize_t i = 0; given + i < n; ++i) {
        Py_INCREF(args[given + i]);
        PyTuple_SET_ITEM(rest.ptr(), i, args[given + i]);
      }
      values[next++] = rest.ptr();
      given = n;
      break;
    }
    values[next++] = args[given++];
  }
  if (given < n)
    fail("takes " + std::to_string(positional_) + " positional arguments, got " + std::to_string(n + (self ? 1 : 0)));
  const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t k = 0; k < named; ++k) {
    PyObject* key = PyTuple_GET_ITEM(keywords, k);
    int i = 0;
    while (i < count_ && interned_[i] != key) ++i;
    for (int j = 0; i == count_ && j < count_; ++j) {
      if (PyUnicode_CompareWithASCIIString(key, names_[j].c_str()) == 0) i = j;
    }
    // NumPy's spellings, which PyTorch accepts too.
    for (int j = 0; i == count_ && j < count_; ++j) {
      if (names_[j] == "dim" && PyUnicode_CompareWithASCIIString(key, "axis") == 0) i = j;
      if (names_[j] == "keepdim" && PyUnicode_CompareWithASCIIString(key, "keepdims") == 0) i = j;
    }
    if (i == count_) fail("unexpected keyword argument " + std::string(py::repr(key)));
    if (values[i]) fail("argument '" + names_[i] + "' is given twice");
    values[i] = args[n + k];
  }
  for (int i = 0; i < count_; ++i) {
    if (values[i]) continue;
    if (i == varargs_) {
      rest = py::tuple(0);
      values[i] = rest.ptr();
    } else if (defaults_[i]) {
      values[i] = defaults_[i];
    } else {
      fail("argument '" + names_[i] + "' is missing");
    }
  }
}

}  // namespace tg
