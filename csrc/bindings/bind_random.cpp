// Random draws as functions and methods, and generators.
#include "bindings/arg_parser.h"
#include "bindings/bindings.h"
#include "bindings/tensor_members.h"
#include "bindings/used_objects.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace tg {
namespace {

DType dtype_or(const py::object& dtype, DType otherwise) { return dtype.is_none() ? otherwise : to_dtype(dtype.ptr()); }

// The low 64 bits of any Python int, negative ones too.
uint64_t seed_bits(const py::object& seed) {
  const py::object index = py::module_::import("operator").attr("index")(seed);
  return py::object(index.attr("__and__")(py::int_(~uint64_t{0}))).cast<uint64_t>();
}

// The two numbers of randint(low=0, high) and random_(from=0, to).
std::pair<int64_t, int64_t> range_of(int64_t first, const ops::MaybeDim& second) {
  return second ? std::pair(first, *second) : std::pair(int64_t{0}, first);
}

struct bernoulli {
  static constexpr const char *name = "bernoulli", *params = "input, p=None, *, generator=None";
  static Tensor run(const Tensor& input, std::optional<double> p, const py::object& generator) {
    Generator* const g = use_generator(generator);
    const Tensor out = Tensor::empty(input.shape(), input.dtype());
    return p ? ops::bernoulli_(out, Tensor::number(*p), g) : ops::bernoulli_(out, input, g);
  }
  static constexpr auto fn = &run;
};
struct multinomial {
  static constexpr const char *name = "multinomial",
                              *params = "input, num_samples, replacement=False, *, generator=None";
  static Tensor run(const Tensor& input, int64_t num_samples, bool replacement, const py::object& generator) {
    return ops::multinomial(input, num_samples, replacement, use_generator(generator));
  }
  static constexpr auto fn = &run;
};
struct normal_row {
  static constexpr const char *name = "normal",
                              *params =
                                  "mean, std=1.0, size=None, *, generator=None, dtype=None, device=None, "
                                  "requires_grad=False";
  static Tensor run(const py::object& mean, const py::object& std, const ops::MaybeDims& size,
                    const py::object& generator, ops::MaybeDType dtype, const py::object& device, bool requires_grad) {
    check_device(name, device.ptr());
    Generator* const g = use_generator(generator);
    if (is_tensor(mean.ptr()) || is_tensor(std.ptr())) {
      if (size) throw TypeError("normal: size is that of the tensors and cannot be given beside them");
      return ops::normal(to_operand(mean.ptr()), to_operand(std.ptr()), g);
    }
    if (!size) throw TypeError("normal: numbers for mean and std need a size");
    const Tensor out = Tensor::empty(*size, dtype.value_or(default_dtype()));
    ops::normal_(out, to_double(mean.ptr()), to_double(std.ptr()), g)->requires_grad = requires_grad;
    return out;
  }
  static constexpr auto fn = &run;
};
struct randint_like {
  static constexpr const char *name = "randint_like",
                              *params = "input, low, high=None, *, dtype=None, device=None, requires_grad=False";
  static Tensor run(const Tensor& input, int64_t low, ops::MaybeDim high, ops::MaybeDType dtype,
                    const py::object& device, bool requires_grad) {
    check_device(name, device.ptr());
    const auto [from, to] = range_of(low, high);
    const Tensor t = ops::randint_(Tensor::empty(input.shape(), dtype.value_or(input.dtype())), from, to, nullptr);
    if (requires_grad && !is_float(t.dtype())) throw std::runtime_error("only float tensors can require grad");
    t->requires_grad = requires_grad;
    return t;
  }
  static constexpr auto fn = &run;
};

struct uniform_method {
  static constexpr const char *name = "uniform_", *params = "self, from_=0.0, to=1.0, *, generator=None";
  static Tensor run(const Tensor& t, double low, double high, const py::object& generator) {
    return ops::uniform_(t, low, high, use_generator(generator));
  }
  static constexpr auto fn = &run;
};
struct normal_method {
  static constexpr const char *name = "normal_", *params = "self, mean=0.0, std=1.0, *, generator=None";
  static Tensor run(const Tensor& t, double mean, double std, const py::object& generator) {
    return ops::normal_(t, mean, std, use_generator(generator));
  }
  static constexpr auto fn = &run;
};
struct bernoulli_method {
  static constexpr const char *name = "bernoulli_", *params = "self, p=0.5, *, generator=None";
  static Tensor run(const Tensor& t, const Tensor& p, const py::object& generator) {
    return ops::bernoulli_(t, p, use_generator(generator));
  }
  static constexpr auto fn = &run;
};
struct exponential_method {
  static constexpr const char *name = "exponential_", *params = "self, lambd=1.0, *, generator=None";
  static Tensor run(const Tensor& t, double lambd, const py::object& generator) {
    return ops::exponential_(t, lambd, use_generator(generator));
  }
  static constexpr auto fn = &run;
};
struct random_method {
  static constexpr const char *name = "random_", *params = "self, from_=None, to=None, *, generator=None";
  static Tensor run(const Tensor& t, ops::MaybeDim first, ops::MaybeDim second, const py::object& generator) {
    Generator* const g = use_generator(generator);
    if (!first && !second) return ops::random_(t, g);
    const auto [from, to] = first ? range_of(*first, second) : std::pair(int64_t{0}, *second);
    return ops::randint_(t, from, to, g);
  }
  static constexpr auto fn = &run;
};

void bind_generator(py::module_& m) {
  py::class_<Generator>(m, "Generator", "A source of random numbers: MT19937 with PyTorch's CPU streams.")
      .def(py::init([](const py::object& device) {
             check_device("Generator", device.ptr());
             return std::make_unique<Generator>();
           }),
           "device"_a = py::none())
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

std::vector<PyMethodDef> random_methods() {
  return {
      define<bernoulli>("Ones, drawn with the probabilities in the tensor (or p for all), and zeros."),
      define<multinomial>("num_samples positions for each row of weights, drawn with or without replacement; int64."),
      define<uniform_method>("Fills the tensor with draws from [from_, to)."),
      define<normal_method>("Fills the tensor with normal draws."),
      define<bernoulli_method>("Fills the tensor with ones, drawn with probability p (a number, or a float tensor that "
                               "broadcasts), and zeros."),
      define<exponential_method>("Fills the tensor with draws from the exponential distribution of rate lambd."),
      define<random_method>("Fills the tensor with integers from from_ (0) to to - 1; with none given, over all that "
                            "the dtype holds exactly and that are not negative."),
  };
}

void bind_random(py::module_& m) {
  m.def(
      "randint",
      [](const py::args& args, const py::object& size, const py::object& low, const py::object& high,
         const py::object& generator, const py::object& dtype, const py::object& device, bool requires_grad) {
        check_device("randint", device.ptr());
        py::list values(args);
        if (!low.is_none()) values.insert(0, low);
        if (!high.is_none()) values.insert(low.is_none() ? 0 : 1, high);
        if (!size.is_none()) values.append(size);
        if (values.size() < 2 || values.size() > 3) throw TypeError("randint(low=0, high, size): takes 2 or 3 values");
        const bool has_low = values.size() == 3;
        const int64_t from = has_low ? to_int64(py::object(values[0]).ptr()) : 0;
        const int64_t to = to_int64(py::object(values[has_low ? 1 : 0]).ptr());
        const Dims shape = to_dims(py::object(values[values.size() - 1]).ptr());
        const Tensor t =
            ops::randint_(Tensor::empty(shape, dtype_or(dtype, DType::Int64)), from, to, use_generator(generator));
        if (requires_grad && !is_float(t.dtype())) throw std::runtime_error("only float tensors can require grad");
        t->requires_grad = requires_grad;
        return t;
      },
      "size"_a = py::none(), "low"_a = py::none(), "high"_a = py::none(), "generator"_a = py::none(),
      "dtype"_a = py::none(), "device"_a = py::none(), "requires_grad"_a = false,
      "randint(low=0, high, size): integers drawn evenly from low to high - 1.");
  m.def(
      "randperm",
      [](int64_t n, const py::object& generator, const py::object& dtype, const py::object& device) {
        check_device("randperm", device.ptr());
        return ops::to(ops::randperm(n, use_generator(generator)), dtype_or(dtype, DType::Int64));
      },
      "n"_a, py::kw_only(), "generator"_a = py::none(), "dtype"_a = py::none(), "device"_a = py::none(),
      "A random permutation of 0 .. n - 1, int64 unless a dtype is given.");
  m.def(
      "manual_seed",
      [](const py::object& seed) {
        manual_seed(seed_bits(seed));
        return py::cast(default_generator(), py::return_value_policy::reference);
      },
      "seed"_a, "Seeds the default generator; the streams are those of PyTorch's CPU generator.");
  add_functions(m, {
                       function<bernoulli>(
                           "Ones, drawn with the probabilities in input (or p for all), and zeros, in input's dtype."),
                       function<multinomial>(
                           "num_samples positions for each row of input (1-d or 2-d float, weights of any sum), drawn "
                           "with or without replacement; int64."),
                       function<normal_row>(
                           "Normal draws: mean and std tensors that broadcast, or one of them, or numbers and a size."),
                       function<randint_like>("randint(low=0, high) with the shape and dtype of another tensor."),
                   });
  bind_generator(m);
}

}  // namespace tg
