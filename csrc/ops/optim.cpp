// Optimizer steps over lists of tensors, in place, one pass over memory.
#include <bit>
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/fused_products.h"
#include "ops/gemm.h"
#include "ops/ops.h"
#include "ops/optim_rules.h"
#include "ops/rows.h"
#include "ops/subnormals.h"
#include "threads/parallel.h"

namespace tg {
namespace {

using ops::TensorList;

// body(tensor, offset in elements, n) over all the parameters, cut into tasks of one chunk each. Elements do not meet,
// so the cut may follow the total: longer chunks stream better, more chunks spread better.
template <class F>
void for_chunks(std::span<const Tensor> params, F&& body) {
  constexpr int64_t kParallel = 32768, kMin = 16384, kMax = 131072;
  constexpr double kNs = 0.3;  // of an element, Adam in the caches
  int64_t total = 0;
  for (const Tensor& p : params) total += p.numel();
  const int64_t length = std::clamp(total / 16 / 1024 * 1024, kMin, kMax);
  std::vector<std::pair<size_t, int64_t>> chunks;
  for (size_t i = 0; i < params.size(); ++i) {
    for (int64_t at = 0; at < params[i].numel(); at += length) chunks.emplace_back(i, at);
  }
  const auto count = static_cast<int64_t>(chunks.size());
  const auto some = [&](int64_t b, int64_t e) {
    const FlushSubnormals flush;
    for (int64_t k = b; k < e; ++k) {
      const auto [i, at] = chunks[static_cast<size_t>(k)];
      body(i, at, std::min(length, params[i].numel() - at));
    }
  };
  parallel_for(count, total > kParallel ? 1 : std::max<int64_t>(count, 1), some, kNs * double(total) / double(count));
}

void* element(const Tensor& t, int64_t at) { return t.data<char>() + at * static_cast<int64_t>(itemsize(t.dtype())); }

// Inputs: n parameters, n gradients, and the state, list after list; last what the step counts.
// attrs.integer[0] = n, attrs.cell the options. All but the gradients is written.
bool writes(const Call& c, int input) {
  const int64_t n = c.attrs.integer[0];
  return n == 0 || input / n != 1;
}

// What the step after the counts in `t` counts; `raise`: they are set to it.
template <class R, class T>
Counts advance(const double* o, const Tensor& t, bool raise) {
  T* const x = t.data<T>();
  Counts c = {double(x[0]), R::counts > 1 ? double(x[1]) : 0};
  R::advance(o, c);
  c = {double(T(c.step)), double(T(c.product))};
  if (raise) {
    x[0] = T(c.step);
    if constexpr (R::counts > 1) x[1] = T(c.product);
  }
  return c;
}

// The kernel of a rule with its arguments, and which inputs are its lists of state.
template <class R>
struct Step {
  decltype(R::args(nullptr, Counts())) args;
  unsigned state;
  Step(const double* o, const Tensor& counts, bool raise)
      : args(R::args(o, counts.dtype() == DType::Float64 ? advance<R, double>(o, counts, raise)
                                                         : advance<R, float>(o, counts, raise))),
        state(R::state(o)) {}
  // On n elements; `of(k)` gives those of the k-th list of state there is.
  template <class F>
  void operator()(int dtype, int64_t n, void* p, void* g, F&& of) const {
    void* lists[2 + R::states] = {p, g};
    size_t given = 0;
    for (size_t i = 0; i < R::states; ++i) lists[2 + i] = state >> i & 1 ? of(given++) : nullptr;
    (kernels().optim.*R::kernel)[dtype](n, lists, &args);
  }
};

template <class R>
void run(const Call& c, std::span<Tensor>) {
  if constexpr (requires { R::kernel; }) {
    const auto n = static_cast<size_t>(c.attrs.integer[0]);
    const Step<R> step(c.attrs.cell->values.data(), c.in.back(), true);
    for_chunks(c.in.first(n), [&](size_t i, int64_t at, int64_t m) {
      step(float_index(c.in[i]), m, element(c.in[i], at), element(c.in[n + i], at),
           [&](size_t k) { return element(c.in[(2 + k) * n + i], at); });
    });
  } else {
    R::run(c);
  }
}
template <class R>
double step_flops(const Call& c) {
  if constexpr (requires { R::kernel; }) {
    double sum = 0;
    for (const Tensor& p : c.in.first(static_cast<size_t>(c.attrs.integer[0]))) sum += static_cast<double>(p.numel());
    return sum * R::flops(c.attrs.cell->values.data());
  } else {
    return R::flops(c);
  }
}

// The step of one parameter, whose gradient is the product a b, part by part as the product is made; the gradient is
// not stored. Inputs: the parameter, a, b, its state, and what the step counts, which the step of the other
// parameters will raise. attrs.integer[0]: how many state tensors, attrs.cell the options. attrs.flag: the gradient is
// that of weight_gradient(a, b), whose sums are an input that is written, before the last.
bool writes_behind_product(const Call& c, int input) {
  return input == 0 || (input >= 3 && input < 3 + c.attrs.integer[0] + c.attrs.flag);
}
template <class R>
void run_behind_product(const Call& c, std::span<Tensor>) {
  const Step<R> step(c.attrs.cell->values.data(), c.in.back(), false);
  GemmArgs product = c.attrs.flag ? weight_gradient_args(c.in[1], c.in[2], nullptr, c.in[c.in.size() - 2].data())
                                  : gemm_args(c.in[1], c.in[2], nullptr);
  const int dtype = float_index(c.in[0]);
  const auto item = static_cast<int64_t>(itemsize(c.in[0].dtype()));
  const auto update = [&](const GemmPart& part) {
    const FlushSubnormals flush;
    part.for_rows(product.n, item, [&](int64_t at, int64_t n, void* g) {
      step(dtype, n, element(c.in[0], at), g, [&](size_t k) { return element(c.in[3 + k], at); });
    });
  };
  product.hook = {[](const void* ctx, const GemmPart& part) { (*static_cast<decltype(&update)>(ctx))(part); }, &update};
  gemm(product);
}
template <class R>
double behind_product_flops(const Call& c) {
  return 2.0 * double(c.in[1].numel()) * double(c.in[2].size(1)) +
         double(c.in[0].numel()) * R::flops(c.attrs.cell->values.data());
}

struct Optimizer {
  Op op, behind_product;  // the latter without a name: there is none
  size_t options, counts;
  unsigned (*state)(const double* options);
};
template <class R>
constexpr Op behind_product(const char* name) {
  if constexpr (requires { R::kernel; }) {
    return {.name = name,
            .run = run_behind_product<R>,
            .in_place = true,
            .writes = writes_behind_product,
            .flops = behind_product_flops<R>};
  } else {
    return {};
  }
}
#define OPTIMIZER(NAME, RULE, DOC)                                                                      \
  constexpr Optimizer k##RULE = {                                                                       \
      {.name = #NAME, .run = run<RULE>, .in_place = true, .writes = writes, .flops = step_flops<RULE>}, \
      behind_product<RULE>("matmul_" #NAME),                                                            \
      RULE::options,                                                                                    \
      RULE::counts,                                                                                     \
      RULE::state};
#include "ops/ops.def"

void check_state(const char* op, const Tensor& p, const Tensor& s, const char* what) {
  if (!is_float(s.dtype())) throw std::invalid_argument(std::string(op) + ": " + describe(s) + " is no float tensor");
  if (s.shape() == p.shape() && s.dtype() == p.dtype()) return;
  throw std::invalid_argument(std::string(op) + ": the " + what + " " + describe(s) + " does not match its parameter " +
                              describe(p));
}

void check_step(const char* op, const Tensor& t, size_t counts) {
  if (t && is_float(t.dtype()) && t.shape() == (counts == 1 ? Dims() : Dims{static_cast<int64_t>(counts)}) &&
      t.contiguous() && !t->storage->read_only)
    return;
  throw std::invalid_argument(std::string(op) + ": step must be a float tensor of shape " +
                              (counts == 1 ? "()" : "(" + std::to_string(counts) + ",)") + ", got " +
                              (t ? describe(t) : "None"));
}

void check_options(const Optimizer& optimizer, size_t lists, const std::vector<double>& options) {
  const auto fail = [&](const char* what, size_t count, size_t expected) {
    throw std::invalid_argument(std::string(optimizer.op.name) + ": got " + std::to_string(count) + what +
                                ", expected " + std::to_string(expected));
  };
  if (options.size() != optimizer.options) fail(" options", options.size(), optimizer.options);
  const auto expected = static_cast<size_t>(std::popcount(optimizer.state(options.data())));
  if (lists != expected) fail(" lists of state", lists, expected);
}

// Checks the lists, runs the step, and raises the version of everything that was written.
void execute_step(const Optimizer& optimizer, const TensorList& params, const TensorList& grads,
                  const std::vector<TensorList>& state, const Tensor& steps, const std::shared_ptr<Cell>& options) {
  const Op& op = optimizer.op;
  if (params.empty()) return;
  options->refresh();
  check_options(optimizer, state.size(), options->values);
  check_step(op.name, steps, optimizer.counts);
  GradMode off(false);
  std::vector<Tensor> in;
  in.reserve((2 + state.size()) * params.size() + 1);
  std::vector<std::pair<Tensor, Tensor>> write_back;  // (target, contiguous copy)
  const auto add = [&](const TensorList& tensors, const char* what, bool written) {
    if (tensors.size() != params.size()) {
      throw std::invalid_argument(std::string(op.name) + ": lists of " + std::to_string(params.size()) + " and " +
                                  std::to_string(tensors.size()) + " tensors; expected one length");
    }
    for (size_t i = 0; i < params.size(); ++i) {
      const Tensor& t = tensors[i];
      check_state(op.name, params[i], t, what);
      if (written && t->storage->read_only) {
        throw std::runtime_error(std::string(op.name) + ": " + describe(t) + " shares read-only memory");
      }
      in.push_back(t.contiguous() ? t : ops::contiguous(t));
      if (written) t->storage->wrote(op.name);
      if (written && !t.contiguous()) write_back.emplace_back(t, in.back());
    }
  };
  add(params, "parameter", true);
  add(grads, "gradient", false);
  for (const TensorList& tensors : state) add(tensors, "state", true);
  in.push_back(steps);
  steps->storage->wrote(op.name);
  Attrs attrs;
  attrs.integer[0] = static_cast<int64_t>(params.size());
  attrs.cell = options;
  execute_in_place(op, in, attrs);
  for (const auto& [target, copy] : write_back) ops::copy_(target, copy);
}

}  // namespace

const Op* step_behind_product(const Op& step) {
#define OPTIMIZER(NAME, RULE, DOC) \
  if (&step == &k##RULE.op) return k##RULE.behind_product.name ? &k##RULE.behind_product : nullptr;
#include "ops/ops.def"
  return nullptr;
}

namespace ops {

#define OPTIMIZER(NAME, RULE, DOC)                                                                   \
  void NAME(const TensorList& params, const TensorList& grads, const std::vector<TensorList>& state, \
            const Tensor& step, const std::shared_ptr<Cell>& options) {                              \
    execute_step(k##RULE, params, grads, state, step, options);                                      \
  }
#include "ops/ops.def"

}  // namespace ops
}  // namespace tg
