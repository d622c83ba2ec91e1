// Functions and methods generated from ops.def.
#include "bindings/bind_ops.h"

#include "bindings/arg_parser.h"

namespace py = pybind11;

namespace tg {
namespace {

enum Kind { F = 1, M = 2, FM = 3 };

struct Entry {
  const char* name;
  Kind kind;
  _PyCFunctionFastWithKeywords function, method;
  const Parameters& (*parameters)();
  const char* doc;
  bool listed;  // in op_names(): in-place forms belong to their op
};

namespace rows {
#define UNARY(NAME, ...)                                              \
  struct NAME {                                                       \
    static constexpr const char *name = #NAME, *params = "input";     \
    static constexpr Tensor (*fn)(const Tensor&) = &ops::NAME;        \
  };                                                                  \
  struct NAME##_ {                                                    \
    static constexpr const char *name = #NAME "_", *params = "input"; \
    static constexpr Tensor (*fn)(Tensor) = &ops::NAME##_;            \
  };
#define BINARY(NAME, ...)                                                     \
  struct NAME {                                                               \
    static constexpr const char *name = #NAME, *params = "input, other";      \
    static constexpr Tensor (*fn)(const Tensor&, const Tensor&) = &ops::NAME; \
  };                                                                          \
  struct NAME##_ {                                                            \
    static constexpr const char *name = #NAME "_", *params = "input, other";  \
    static constexpr Tensor (*fn)(Tensor, const Tensor&) = &ops::NAME##_;     \
  };
#define COMPARE(NAME, ...)                                                    \
  struct NAME {                                                               \
    static constexpr const char *name = #NAME, *params = "input, other";      \
    static constexpr Tensor (*fn)(const Tensor&, const Tensor&) = &ops::NAME; \
  };
#define OP(NAME, PARAMS, ...)                                    \
  struct NAME {                                                  \
    static constexpr const char *name = #NAME, *params = PARAMS; \
    static constexpr auto fn = &ops::NAME;                       \
  };
#define IN_PLACE(NAME, PARAMS, DOC) OP(NAME, PARAMS)
#include "ops/ops.def"

struct copy_ {
  static constexpr const char *name = "copy_", *params = "self, src";
  static constexpr auto fn = &ops::copy_;
};
struct fill_ {
  static constexpr const char *name = "fill_", *params = "self, value";
  static constexpr auto fn = &ops::fill_;
};
struct zero_ {
  static constexpr const char *name = "zero_", *params = "self";
  static constexpr auto fn = &ops::zero_;
};
}  // namespace rows

template <class Row>
constexpr Entry entry(Kind kind, const char* doc, bool listed = true) {
  return {Row::name, kind, Bound<Row>::function, Bound<Row>::method, Bound<Row>::parameters, doc, listed};
}

constexpr Entry kEntries[] = {
#define UNARY(NAME, FUNCTOR, DOMAIN, DOC) entry<rows::NAME>(FM, DOC), entry<rows::NAME##_>(M, "In place: " DOC, false),
#define BINARY(NAME, FUNCTOR, DOMAIN, DOC) entry<rows::NAME>(FM, DOC), entry<rows::NAME##_>(M, "In place: " DOC, false),
#define COMPARE(NAME, FUNCTOR, DOC) entry<rows::NAME>(FM, DOC),
#define OP(NAME, PARAMS, KIND, DOC) entry<rows::NAME>(KIND, DOC),
#define IN_PLACE(NAME, PARAMS, DOC) entry<rows::NAME>(M, DOC, false),
#include "ops/ops.def"
    entry<rows::copy_>(M, "Copies the elements of src, cast and broadcast, into this tensor.", false),
    entry<rows::fill_>(M, "Sets every element to value.", false),
    entry<rows::zero_>(M, "Sets every element to zero.", false),
};

PyMethodDef definition(const Entry& e, bool method) {
  return {e.name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method ? e.method : e.function)),
          METH_FASTCALL | METH_KEYWORDS, e.parameters().docstring(e.doc, method)};
}

}  // namespace

std::vector<PyMethodDef> op_methods() {
  std::vector<PyMethodDef> out;
  for (const Entry& e : kEntries) {
    if (e.kind & M) out.push_back(definition(e, true));
  }
  return out;
}

void bind_op_functions(py::module_& m) {
  std::vector<PyMethodDef> functions;
  for (const Entry& e : kEntries) {
    if (e.kind & F) functions.push_back(definition(e, false));
  }
  add_functions(m, std::move(functions));
  m.def(
      "op_names",
      [] {
        py::list names;
        for (const Entry& e : kEntries) {
          if (e.listed) names.append(e.name);
        }
        return names;
      },
      "The names of all ops, in the order of the op list.");
}

}  // namespace tg
