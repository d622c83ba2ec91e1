// Creation functions.
#include <cmath>

#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "bindings/tensor_members.h"
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
  static constexpr const char *name = "zeros", *like = "zeros_like", *new_ = "new_zeros";
  static Tensor make(const Dims& s, DType t, Generator*) { return ops::zero_(Tensor::empty(s, t)); }
};
struct ones {
  static constexpr const char *name = "ones", *like = "ones_like", *new_ = "new_ones";
  static Tensor make(const Dims& s, DType t, Generator*) { return ops::full(s, Tensor::number(int64_t{1}), t); }
};
struct empty {
  static constexpr const char *name = "empty", *like = "empty_like", *new_ = "new_empty";
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
  static constexpr const char *name = Filled::name,
                              *params = "*size, dtype=None, device=None, requires_grad=False, generator=None";
  static Tensor run(const Dims& size, ops::MaybeDType dtype, const py::object& device, bool requires_grad,
                    const py::object& generator) {
    check_device(name, device.ptr());
    const GradMode off(false);
    return finish(Filled::make(size, dtype.value_or(default_dtype()), use_generator(generator)), requires_grad);
  }
  static constexpr auto fn = &run;
};

// A new tensor is contiguous, whichever of the two formats is asked for.
void check_memory_format(const char* op, const py::object& format) {
  if (format.is_none() || (py::isinstance<py::str>(format) &&
                           (format.equal(py::str("preserve_format")) || format.equal(py::str("contiguous_format")))))
    return;
  throw std::invalid_argument(std::string(op) + ": memory_format must be preserve_format or contiguous_format, got " +
                              py::repr(format).cast<std::string>());
}

template <class Filled>
struct like {
  static constexpr const char *name = Filled::like, *params =
                                                        "input, *, dtype=None, device=None, requires_grad=False, "
                                                        "memory_format=None";
  static Tensor run(const Tensor& input, ops::MaybeDType dtype, const py::object& device, bool requires_grad,
                    const py::object& memory_format) {
    check_device(name, device.ptr());
    check_memory_format(name, memory_format);
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

// A number as an integer one; a fraction is cut off.
int64_t whole(const char* op, const py::object& value) {
  if (!is_float(operand(value, op).dtype())) return to_int64(value.ptr());
  const double v = to_double(value.ptr());
  if (!(std::abs(v) < 0x1p63))
    throw std::invalid_argument(std::string(op) + ": a number that is no int64: " + std::to_string(v));
  return static_cast<int64_t>(v);
}

// An end of a range of dtype t: of integers, a whole number.
double end_of_range(double v, DType t) { return is_integral(t) ? std::trunc(v) : v; }

void bind_ranges(py::module_& m) {
  m.def(
      "full",
      [](const py::object& size, const py::object& fill_value, const py::object& dtype, bool requires_grad,
         const py::object& device) {
        check_device("full", device.ptr());
        const GradMode off(false);
        const Tensor value = operand(fill_value, "full");
        return finish(ops::full(to_dims(size.ptr()), value, dtype_or(dtype, number_dtype(fill_value))), requires_grad);
      },
      "size"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(), "A tensor of one value; its dtype is that of the value unless given.");
  m.def(
      "full_like",
      [](const Tensor& input, const py::object& fill_value, const py::object& dtype, bool requires_grad,
         const py::object& device) {
        check_device("full_like", device.ptr());
        if (!input) throw TypeError("full_like: expected a tensor, got None");
        const GradMode off(false);
        return finish(ops::full(input.shape(), operand(fill_value, "full_like"), dtype_or(dtype, input.dtype())),
                      requires_grad);
      },
      "input"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(), "full() with the shape and dtype of another tensor.");
  m.def(
      "arange",
      [](const py::object& start, const py::object& end, const py::object& step, const py::object& dtype,
         bool requires_grad, const py::object& device) {
        check_device("arange", device.ptr());
        const py::object first = end.is_none() ? py::int_(0) : start, last = end.is_none() ? start : end;
        DType natural = DType::Int64;
        for (const py::object& v : {first, last, step}) {
          if (is_float(operand(v, "arange").dtype())) natural = default_dtype();
        }
        const DType wanted = dtype_or(dtype, natural);
        const Tensor t =
            is_integral(wanted) || natural == DType::Int64
                ? ops::arange(whole("arange", first), whole("arange", last), whole("arange", step), wanted)
                : ops::arange(to_double(first.ptr()), to_double(last.ptr()), to_double(step.ptr()), wanted);
        return finish(t, requires_grad);
      },
      "start"_a, "end"_a = py::none(), "step"_a = 1, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(),
      "start, start + step, ... up to but without end; int64 unless a float is given. arange(n) counts from 0.");
  m.def(
      "linspace",
      [](double start, double end, int64_t steps, const py::object& dtype, bool requires_grad,
         const py::object& device) {
        check_device("linspace", device.ptr());
        const DType t = dtype_or(dtype, default_dtype());
        return finish(ops::linspace(end_of_range(start, t), end_of_range(end, t), steps, t), requires_grad);
      },
      "start"_a, "end"_a, "steps"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(), "`steps` evenly spaced values from start to end, both included.");
  m.def(
      "logspace",
      [](double start, double end, int64_t steps, double base, const py::object& dtype, bool requires_grad,
         const py::object& device) {
        check_device("logspace", device.ptr());
        const DType t = dtype_or(dtype, default_dtype());
        return finish(ops::logspace(end_of_range(start, t), end_of_range(end, t), steps, base, t), requires_grad);
      },
      "start"_a, "end"_a, "steps"_a, "base"_a = 10.0, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(), "base to the powers linspace(start, end, steps).");
  m.def(
      "eye",
      [](int64_t n, std::optional<int64_t> columns, const py::object& dtype, bool requires_grad,
         const py::object& device) {
        check_device("eye", device.ptr());
        return finish(ops::eye(n, columns.value_or(n), dtype_or(dtype, default_dtype())), requires_grad);
      },
      "n"_a, "m"_a = py::none(), py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false,
      "device"_a = py::none(), "The n x m matrix with ones on its diagonal.");
}

// Methods new_zeros(2, 3) and others: of the given sizes, in the tensor's dtype.
template <class Filled>
struct like_new {
  static constexpr const char *name = Filled::new_,
                              *params = "self, *size, dtype=None, device=None, requires_grad=False";
  static Tensor run(const Tensor& self, const Dims& size, ops::MaybeDType dtype, const py::object& device,
                    bool requires_grad) {
    check_device(name, device.ptr());
    const GradMode off(false);
    return finish(Filled::make(size, dtype.value_or(self.dtype()), nullptr), requires_grad);
  }
  static constexpr auto fn = &run;
};
struct new_full {
  static constexpr const char *name = "new_full",
                              *params = "self, size, fill_value, *, dtype=None, device=None, requires_grad=False";
  static Tensor run(const Tensor& self, const Dims& size, const Tensor& value, ops::MaybeDType dtype,
                    const py::object& device, bool requires_grad) {
    check_device(name, device.ptr());
    const GradMode off(false);
    return finish(ops::full(size, value, dtype.value_or(self.dtype())), requires_grad);
  }
  static constexpr auto fn = &run;
};
struct new_tensor {
  static constexpr const char *name = "new_tensor",
                              *params = "self, data, *, dtype=None, device=None, requires_grad=False";
  static Tensor run(const Tensor& self, const py::object& data, ops::MaybeDType dtype, const py::object& device,
                    bool requires_grad) {
    check_device(name, device.ptr());
    const auto make = py::module_::import("tapegrad._core").attr("tensor");
    const py::handle wanted = dtype_object(dtype.value_or(self.dtype()));
    return unwrap(make(data, "dtype"_a = wanted, "requires_grad"_a = requires_grad).ptr());
  }
  static constexpr auto fn = &run;
};

}  // namespace

std::vector<PyMethodDef> create_methods() {
  return {
      define<like_new<zeros>>("Zeros of the given sizes, in this tensor's dtype unless another is given."),
      define<like_new<ones>>("Ones of the given sizes, in this tensor's dtype unless another is given."),
      define<like_new<empty>>("Uninitialised, of the given sizes, in this tensor's dtype unless another is given."),
      define<new_full>("full() in this tensor's dtype unless another is given."),
      define<new_tensor>("tensor() in this tensor's dtype unless another is given."),
  };
}

void bind_create(py::module_& m) {
  bind_filled<zeros>(m, "A tensor of zeros, of the given sizes.");
  bind_filled<ones>(m, "A tensor of ones, of the given sizes.");
  bind_filled<empty>(m, "An uninitialised tensor, of the given sizes.");
  bind_filled<rand>(m, "Draws from the uniform distribution on [0, 1).");
  bind_filled<randn>(m, "Draws from the standard normal distribution.");
  bind_ranges(m);
}

}  // namespace tg
