// A program as plain numbers and texts, for python/tapegrad/_explain.py.
#include <algorithm>

#include "bindings/convert.h"
#include "bindings/explain.h"
#include "ops/work.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

template <class T>
py::tuple ints(const T& numbers) {
  py::tuple out(std::size(numbers));
  Py_ssize_t i = 0;
  for (const auto n : numbers) PyTuple_SET_ITEM(out.ptr(), i++, PyLong_FromLongLong(n));
  return out;
}

// All of one list, by a function of its items.
template <class T, class F>
py::list each(const std::vector<T>& items, F&& f) {
  py::list out(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), py::object(f(items[i])).release().ptr());
  }
  return out;
}

// Many objects are made that stay: looking for cycles among them again and again would take most of the time.
class GcPause {
 public:
  GcPause() : was_on_(PyGC_Disable()) {}
  ~GcPause() {
    if (was_on_) PyGC_Enable();
  }
  GcPause(const GcPause&) = delete;

 private:
  bool was_on_;
};

intptr_t address(const void* data) { return reinterpret_cast<intptr_t>(data); }

// (op, slots read, slots written, file, line, flops, bytes, in the reverse sweep, by an optimizer, stands for)
py::tuple of_instruction(const Program& p, const Instruction& i) {
  const auto tensors = [&](const std::vector<int>& slots) {
    std::vector<Tensor> out;
    for (int s : slots) out.push_back(p.slots[static_cast<size_t>(s)].tensor);
    return out;
  };
  const std::vector<Tensor> in = tensors(i.in);
  std::vector<Tensor> out = tensors(i.out);
  std::vector<int> written = i.out;
  const Call call{*i.op, in, i.arguments()};
  if (i.in_place()) {
    out = {in[0]};
    for (size_t k = 0; k < in.size(); ++k) {
      if (i.op->writes_input(call, static_cast<int>(k))) written.push_back(i.in[k]);
    }
  }
  const py::object file = i.file < 0 ? py::none() : py::object(py::str(p.files[static_cast<size_t>(i.file)]));
  return py::make_tuple(i.op->name, ints(i.in), ints(written), file, i.line, flops_of(call, out), bytes_of(call, out),
                        i.backward, i.arguments().cell != nullptr, ints(i.from));
}

// (kind, whose memory, argument's number, bytes, address, a constant's bytes where they are few)
py::tuple of_value(const Value& v) {
  constexpr const char* kinds[] = {"argument", "state", "constant", "inner"};
  constexpr const char* homes[] = {"arena", "output", "gradient", "result"};
  py::object constant = py::none();
  if (v.kind == Value::Kind::Constant && v.bytes <= 8) constant = py::bytes(v.source.data<char>(), v.bytes);
  const intptr_t where = v.kind == Value::Kind::State ? address(v.source->storage->data) : 0;
  return py::make_tuple(kinds[static_cast<int>(v.kind)], homes[static_cast<int>(v.home)], v.argument, v.bytes, where,
                        constant);
}

// (value, offset in bytes, dtype, shape, strides or None where contiguous)
py::tuple of_slot(const Slot& s) {
  const Tensor& t = s.tensor;
  const py::object strides = t.contiguous() ? py::none() : py::object(ints(t.strides()));
  return py::make_tuple(s.value, s.offset, name(t.dtype()), ints(t.shape()), strides);
}

}  // namespace

py::dict explain(const Program& p) {
  const GcPause pause;
  const auto list_of = [&](const std::vector<Instruction>& list) {
    return each(list, [&](const Instruction& i) { return of_instruction(p, i); });
  };
  const bool same = std::equal(
      p.captured.begin(), p.captured.end(), p.instructions.begin(), p.instructions.end(),
      [](const Instruction& a, const Instruction& b) { return a.op == b.op && a.in == b.in && a.out == b.out; });
  const py::list instructions = list_of(p.instructions);
  return py::dict("captured"_a = same ? instructions : list_of(p.captured), "instructions"_a = instructions,
                  "values"_a = each(p.values, of_value), "slots"_a = each(p.slots, of_slot),
                  "outputs"_a = each(p.outputs, [](const Output& o) { return py::make_tuple(o.argument, o.slot); }),
                  "gradients"_a = each(
                      p.gradients, [](const LeafGradient& g) { return py::make_tuple(address(g.leaf->data), g.slot); }),
                  "parts"_a = each(p.parts, [](const BackwardPart& b) { return py::make_tuple(b.output, b.gradient); }),
                  "captured_values"_a = ints(p.captured_values), "arena_bytes"_a = p.arena_bytes);
}

}  // namespace tg
