// Creation functions, random draws and generators.
#include <cmath>

#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "bindings/used_objects.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

DType dtype_or(const py::object& dtype, DType otherwise) { return dtype.is_none() ? otherwise : to_dtype(dtype.ptr()); }

Tensor finish(Tensor t, bool requires_grad) {
  if (requires_grad && !is_float(t.dtype())) {
    throw std::runtime_error("only float tensors can require grad, got " + describe(t));
  }
  t->requires_grad = requires_grad;
  return t;
}

// Functions that fill a tensor of given sizes, zeros(2, 3, dtype=...), zeros((2, 3)), and of another's, zeros_like(t).
struct zeros {
  static constexpr const char *name = "zeros", *like = "zeros_like";
  static Tensor make(const Dims& s, DType t, Generator*) { return ops::zero_(Tensor::empty(s, t)); }
};
struct ones {
  static constexpr const char *name = "ones", *like = "ones_like";
  static Tensor make(const Dims& s, DType t, Generator*) { return ops::full(s, Tensor::number(int64_t{1}), t); }
};
struct empty {
  static constexpr const char *name = "empty", *like = "empty_like";
  static Tensor make(const Dims& s, DType t, Generator*) { return Tensor::empty(s, t); }
};
struct rand {
  static constexpr const char *name = "rand", *like = "rand_like";
  static Tensor make(const Dims& s, DType t, Generator* g) { return ops::uniform_(Tensor::empty(s, t), 0, 1, g); }
};
struct randn {
  static constexpr const char *name = "randn", *like = "randn_like";
  static Tensor make(const Dims& s, DType t, Generator* g) { return ops::normal_(Tensor::empty(s, t), 0, 1, g); }
};

template <class Filled>
struct sized {
  static constexpr const char *name = Filled::name, *params = "*size, dtype=None, requires_grad=False, generator=None";
  static Tensor run(const Dims& size, ops::MaybeDType dtype, bool requires_grad, const py::object& generator) {
    const GradMode off(false);
    return finish(Filled::make(size, dtype.value_or(default_dtype()), use_generator(generator)), requires_grad);
  }
  static constexpr auto fn = &run;
};

template <class Filled>
struct like {
  static constexpr const char *name = Filled::like, *params = "input, *, dtype=None, requires_grad=False";
  static Tensor run(const Tensor& input, ops::MaybeDType dtype, bool requires_grad) {
    const GradMode off(false);
    return finish(Filled::make(input.shape(), dtype.value_or(input.dtype()), nullptr), requires_grad);
  }
  static constexpr auto fn = &run;
};

template <class Filled>
void bind_filled(py::module_& m, const char* doc) {
  add_functions(m, {function<sized<Filled>>(doc),
                    function<like<Filled>>("Like the function without _like, with the shape and dtype of another "
                                           "tensor.")});
}

DType number_dtype(const py::object& value) {
  const Tensor t = to_operand(value.ptr());
  return t->wrapped_number && is_float(t.dtype()) ? default_dtype() : t.dtype();
}

const Tensor operand(const py::object& value, const char* op) {
  if (!is_operand(value.ptr()))
    throw TypeError(std::string(op) + ": expected a number, got " + Py_TYPE(value.ptr())->tp_name);
  return to_operand(value.ptr());
}

void bind_ranges(py::module_& m) {
  m.def(
      "full",
      [](const py::object& size, const py::object& fill_value, const py::object& dtype, bool requires_grad) {
        const GradMode off(false);
        const Tensor value = operand(fill_value, "full");
        return finish(ops::full(to_dims(size.ptr()), value, dtype_or(dtype, number_dtype(fill_value))), requires_grad);
      },
      "size"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "A tensor of one value; its dtype is that of the value unless given.");
  m.def(
      "full_like",
      [](const Tensor& input, const py::object& fill_value, const py::object& dtype, bool requires_grad) {
        if (!input) throw TypeError("full_like: expected a tensor, got None");
        const GradMode off(false);
        return finish(ops::full(input.shape(), operand(fill_value, "full_like"), dtype_or(dtype, input.dtype())),
                      requires_grad);
      },
      "input"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "full() with the shape and dtype of another tensor.");
  m.def(
      "arange",
      [](const py::object& start, const py::object& end, const py::object& step, const py::object& dtype,
         bool requires_grad) {
        const py::object first = end.is_none() ? py::int_(0) : start, last = end.is_none() ? start : end;
        DType natural = DType::Int64;
        for (const py::object& v : {first, last, step}) {
          if (is_float(operand(v, "arange").dtype())) natural = default_dtype();
        }
        const DType wanted = dtype_or(dtype, natural);
        const Tensor t =
            natural == DType::Int64
                ? ops::arange(to_int64(first.ptr()), to_int64(last.ptr()), to_int64(step.ptr()), wanted)
                : ops::arange(to_double(first.ptr()), to_double(last.ptr()), to_double(step.ptr()), wanted);
        return finish(t, requires_grad);
      },
      "start"_a, "end"_a = py::none(), "step"_a = 1, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "start, start + step, ... up to but without end; int64 unless a float is given. arange(n) counts from 0.");
  m.def(
      "linspace",
      [](double start, double end, int64_t steps, const py::object& dtype, bool requires_grad) {
        return finish(ops::linspace(start, end, steps, dtype_or(dtype, default_dtype())), requires_grad);
      },
      "start"_a, "end"_a, "steps"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "`steps` evenly spaced values from start to end, both included.");
  m.def(
      "eye",
      [](int64_t n, std::optional<int64_t> columns, const py::object& dtype, bool requires_grad) {
        return finish(ops::eye(n, columns.value_or(n), dtype_or(dtype, default_dtype())), requires_grad);
      },
      "n"_a, "m"_a = py::none(), py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "The n x m matrix with ones on its diagonal.");
}

// The low 64 bits of any Python int, negative ones too.
uint64_t seed_bits(const py::object& seed) {
  const py::object index = py::module_::import("operator").attr("index")(seed);
  return py::object(index.attr("__and__")(py::int_(~uint64_t{0}))).cast<uint64_t>();
}

void bind_random(py::module_& m) {
  m.def(
      "randint",
      [](const py::args& args, const py::object& size, const py::object& low, const py::object& high,
         const py::object& generator, const py::object& dtype) {
        py::list values(args);
        if (!low.is_none()) values.insert(0, low);
        if (!high.is_none()) values.insert(low.is_none() ? 0 : 1, high);
        if (!size.is_none()) values.append(size);
        if (values.size() < 2 || values.size() > 3) throw TypeError("randint(low=0, high, size): takes 2 or 3 values");
        const bool has_low = values.size() == 3;
        const int64_t from = has_low ? to_int64(py::object(values[0]).ptr()) : 0;
        const int64_t to = to_int64(py::object(values[has_low ? 1 : 0]).ptr());
        const Dims shape = to_dims(py::object(values[values.size() - 1]).ptr());
        return ops::randint_(Tensor::empty(shape, dtype_or(dtype, DType::Int64)), from, to, use_generator(generator));
      },
      "size"_a = py::none(), "low"_a = py::none(), "high"_a = py::none(), "generator"_a = py::none(),
      "dtype"_a = py::none(), "randint(low=0, high, size): integers drawn evenly from low to high - 1.");
  m.def(
      "randperm", [](int64_t n, const py::object& generator) { return ops::randperm(n, use_generator(generator)); },
      "n"_a, py::kw_only(), "generator"_a = py::none(), "A random permutation of 0 .. n - 1, int64.");
  m.def(
      "manual_seed",
      [](const py::object& seed) {
        manual_seed(seed_bits(seed));
        return py::cast(default_generator(), py::return_value_policy::reference);
      },
      "seed"_a, "Seeds the default generator; the streams are those of PyTorch's CPU generator.");
  py::class_<Generator>(m, "Generator", "A source of random numbers: MT19937 with PyTorch's CPU streams.")
      .def(py::init<>())
      .def(
          "manual_seed",
          [](py::object self, const py::object& seed) {
            const uint64_t bits = seed_bits(seed);
            Generator& g = self.cast<Generator&>();
            const std::lock_guard lock(g.mutex);
            g.manual_seed(bits);
            return self;
          },
          "seed"_a, "Restarts the stream from a seed; returns the generator.")
      .def("initial_seed", &Generator::initial_seed, "The seed the stream was started from.")
      .def(
          "get_state",
          [](const Generator& g) {
            const std::vector<uint8_t> s = g.get_state();
            return py::bytes(reinterpret_cast<const char*>(s.data()), s.size());
          },
          "The state as bytes.")
      .def(
          "set_state",
          [](Generator& g, const py::bytes& state) {
            const std::string_view s = state;
            g.set_state(reinterpret_cast<const uint8_t*>(s.data()), s.size());
          },
          "state"_a, "Restores what get_state() returned. ValueError for anything else.");
  m.attr("default_generator") = py::cast(default_generator(), py::return_value_policy::reference);
}

}  // namespace

void bind_create(py::module_& m) {
  bind_random(m);
  bind_filled<zeros>(m, "A tensor of zeros, of the given sizes.");
  bind_filled<ones>(m, "A tensor of ones, of the given sizes.");
  bind_filled<empty>(m, "An uninitialised tensor, of the given sizes.");
  bind_filled<rand>(m, "Draws from the uniform distribution on [0, 1).");
  bind_filled<randn>(m, "Draws from the standard normal distribution.");
  bind_ranges(m);
}

}  // namespace tg
