// Functions and methods generated from ops.def.
#include "bindings/bind_ops.h"

#include <algorithm>
#include <string_view>
#include <type_traits>

#include "bindings/arg_parser.h"
#include "ops/in_place.h"

namespace py = pybind11;

namespace tg {
namespace {

enum Kind { F = 1, M = 2, I = 4, FM = F | M, FMI = F | M | I };

struct Entry {
  const char* name;  // null: no such entry
  int kind;
  _PyCFunctionFastWithKeywords function, method;
  const char* spec;
  const Parameters** parameters;
  const char* doc;
  bool listed;  // in op_names(): an op of its own, with a tensor as its result
};

// The in-place form of an op that has no kernel for it: its result copied.
template <class Row, auto Fn = Row::fn>
struct InPlace;
template <class Row, class... A, Tensor (*Fn)(const Tensor&, A...)>
struct InPlace<Row, Fn> {
  static constexpr const char *name = Row::in_place_name, *params = Row::params;
  static bool wants_gradient(const Tensor& t) { return t && t.requires_grad(); }
  template <class T>
  static bool wants_gradient(const T&) {
    return false;
  }
  static Tensor run(Tensor self, A... rest) {
    const bool saved = grad_enabled() && (wants_gradient(self) || ... || wants_gradient(rest));
    return write_into(self, Row::name, Fn(saved ? ops::clone(self) : self, rest...));
  }
  static constexpr auto fn = &run;
};

namespace rows {
// fn of the function and of the method in place
#define TWO_FORMS(NAME, PARAMS, NUMBER_FIRST, FN)                    \
  struct NAME {                                                      \
    static constexpr const char *name = #NAME, *params = PARAMS;     \
    static constexpr bool number_first = NUMBER_FIRST;               \
    static constexpr auto fn = &ops::FN;                             \
  };                                                                 \
  struct NAME##_ {                                                   \
    static constexpr const char *name = #NAME "_", *params = PARAMS; \
    static constexpr auto fn = &ops::FN##_;                          \
  };
#define UNARY(NAME, ...) TWO_FORMS(NAME, "input", false, NAME)
#define UNARY_WITH(NAME, FUNCTOR, DOMAIN, OPTION, DOC) TWO_FORMS(NAME, "input, *, " OPTION, false, NAME##_with)
#define BINARY(NAME, ...) TWO_FORMS(NAME, "input, other", true, NAME)
#define BINARY_WITH(NAME, FUNCTOR, DOMAIN, OPTION, DOC) TWO_FORMS(NAME, "input, other, *, " OPTION, true, NAME##_with)
#define OP_AS(NAME, FUNCTION, PARAMS, ...)                                                   \
  struct NAME {                                                                              \
    static constexpr const char *name = #NAME, *in_place_name = #NAME "_", *params = PARAMS; \
    static constexpr auto fn = &ops::FUNCTION;                                               \
  };
#define COMPARE(NAME, ...) OP_AS(NAME, NAME, "input, other")
#include "ops/ops.def"
#undef TWO_FORMS
}  // namespace rows

template <class R, class... A>
constexpr bool gives_bool(R (*)(A...)) {
  return std::is_same_v<R, bool>;
}
template <class Row>
constexpr Entry entry(int kind, const char* doc) {
  const bool in_place = std::string_view(Row::name).ends_with('_');
  return {Row::name,
          kind,
          Bound<Row>::function,
          Bound<Row>::method,
          Row::params,
          &Bound<Row>::parameters,
          doc,
          !gives_bool(Row::fn) && !in_place};
}
template <class Row, int kind>
constexpr Entry in_place_entry(const char* doc) {
  if constexpr ((kind & I) != 0) return entry<InPlace<Row>>(M, doc);
  return {};
}

constexpr Entry kEntries[] = {
#define UNARY(NAME, FUNCTOR, DOMAIN, DOC) entry<rows::NAME>(FM, DOC), entry<rows::NAME##_>(M, "In place: " DOC),
#define UNARY_WITH(NAME, FUNCTOR, DOMAIN, OPTION, DOC) UNARY(NAME, FUNCTOR, DOMAIN, DOC)
#define BINARY(NAME, FUNCTOR, DOMAIN, DOC) UNARY(NAME, FUNCTOR, DOMAIN, DOC)
#define BINARY_WITH(NAME, FUNCTOR, DOMAIN, OPTION, DOC) UNARY(NAME, FUNCTOR, DOMAIN, DOC)
#define OP_AS(NAME, FUNCTION, PARAMS, KIND, DOC) \
  entry<rows::NAME>(KIND, DOC), in_place_entry<rows::NAME, KIND>("In place: " DOC),
#define COMPARE(NAME, FUNCTOR, DOC) OP_AS(NAME, NAME, "", FMI, DOC)
#include "ops/ops.def"
};

// Other names that PyTorch has for ops, and for their in-place forms.
constexpr std::pair<std::string_view, const char*> kAliases[] = {
    {"absolute", "abs"},  {"negative", "neg"},     {"multiply", "mul"},     {"subtract", "sub"},
    {"divide", "div"},    {"true_divide", "div"},  {"clip", "clamp"},       {"fix", "trunc"},
    {"sgn", "sign"},      {"arcsin", "asin"},      {"arccos", "acos"},      {"arctan", "atan"},
    {"arctan2", "atan2"}, {"arcsinh", "asinh"},    {"arccosh", "acosh"},    {"arctanh", "atanh"},
    {"greater", "gt"},    {"greater_equal", "ge"}, {"less", "lt"},          {"less_equal", "le"},
    {"not_equal", "ne"},  {"ger", "outer"},        {"moveaxis", "movedim"}, {"swapdims", "transpose"},
    {"concat", "cat"},    {"concatenate", "cat"},
};

// The definitions of the functions, or of the methods, under all their names. Names live as long as the process.
std::vector<PyMethodDef> definitions(Kind kind) {
  std::vector<PyMethodDef> out;
  const auto add = [&](const Entry& e, const char* name) {
    out.push_back({name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(kind == M ? e.method : e.function)),
                   METH_FASTCALL | METH_KEYWORDS,
                   parsed(*e.parameters, e.name, e.spec).docstring(name, e.doc, kind == M)});
  };
  for (const Entry& e : kEntries) {
    if (!e.name || !(e.kind & kind)) continue;
    add(e, e.name);
    const std::string_view name(e.name), stem = name.substr(0, name.size() - name.ends_with('_'));
    for (const auto& [alias, original] : kAliases) {
      if (stem != original) continue;
      add(e, (new std::string(std::string(alias) + (stem == name ? "" : "_")))->c_str());
    }
  }
  return out;
}

// The function of an op with a parameter `inplace`, as nn.functional has it; the input is never overwritten.
template <class Row>
struct AcceptingInplace {
  static const Parameters& parameters() {
    static const auto* p = new Parameters(Row::name, "input, inplace=False");
    return *p;
  }
  static PyObject* function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* keywords) noexcept {
    if (n == 1 && !keywords) return Bound<Row>::function(nullptr, args, 1, nullptr);
    try {
      PyObject* values[2];
      py::object rest;
      parameters().bind(nullptr, args, n, keywords, values, rest);
      return Bound<Row>::function(nullptr, values, 1, nullptr);
    } catch (...) {
      set_python_error(Row::name);
      return nullptr;
    }
  }
  static PyMethodDef definition() {
    const auto* e = std::find_if(std::begin(kEntries), std::end(kEntries),
                                 [](const Entry& x) { return x.name && std::string_view(x.name) == Row::name; });
    const std::string doc = std::string(e->doc) + " inplace is accepted; the input is never overwritten.";
    return {Row::name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&function)),
            METH_FASTCALL | METH_KEYWORDS, parameters().docstring(Row::name, doc.c_str(), false)};
  }
};

template <class... Rows>
std::vector<PyMethodDef> accepting_inplace() {
  return {AcceptingInplace<Rows>::definition()...};
}

}  // namespace

std::vector<PyMethodDef> op_methods() { return definitions(M); }

void bind_op_functions(py::module_& m) {
  add_functions(m, definitions(F));
  static auto forms =
      accepting_inplace<rows::relu, rows::selu, rows::silu, rows::mish, rows::hardsigmoid, rows::hardswish>();
  for (PyMethodDef& form : forms) {
    PyObject* const function = PyCFunction_NewEx(&form, nullptr, m.attr("__name__").ptr());
    m.attr(std::string("_").append(form.ml_name).c_str()) = py::reinterpret_steal<py::object>(function);
  }
  m.def(
      "op_names",
      [] {
        py::list names;
        for (const Entry& e : kEntries) {
          if (e.name && e.listed) names.append(e.name);
        }
        return names;
      },
      "The names of all ops, in the order of the op list.");
}

}  // namespace tg
