// Optimizer steps over lists of tensors, in place, one pass over memory.
#include <cmath>
#include <stdexcept>

#include "kernels/kernel_table.h"
#include "ops/fused_products.h"
#include "ops/gemm.h"
#include "ops/ops.h"
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

// Inputs: n parameters, n gradients, and the state, list after list; last the number of steps so far, of shape ().
// attrs.integer[0] = n, attrs.cell the options. All but the gradients is written.
bool writes(const Call& c, int input) {
  const int64_t n = c.attrs.integer[0];
  return n == 0 || input / n != 1;
}

// Each optimizer: its name, how many lists of state it takes, its options, and what they make of its kernel's
// arguments.
struct Sgd {
  static constexpr const char *name = "sgd_step_", *behind_product = "matmul_sgd_step_";
  static constexpr size_t min_state = 0, max_state = 1, options = 6;
  static constexpr auto kernel = &OptimKernels::sgd;
  // lr, momentum, dampening, weight_decay, nesterov, maximize. State: with momentum, its buffer.
  static SgdArgs args(const double* o, double step) {
    return {o[0], o[1], o[2], o[3], o[4] != 0, o[5] != 0, step == 1};
  }
  static size_t state(const double* o) { return o[1] != 0; }
  static double flops(const double* o) { return 2 + (o[1] != 0 ? 3 : 0) + (o[3] != 0 ? 2 : 0); }
};
struct Adam {
  static constexpr const char *name = "adam_step_", *behind_product = "matmul_adam_step_";
  static constexpr size_t min_state = 2, max_state = 2, options = 7;
  static constexpr auto kernel = &OptimKernels::adam;
  // lr, betas, eps, weight_decay, decoupled_weight_decay, maximize. State: the moments.
  static AdamArgs args(const double* o, double step) {
    return {o[0], o[1], o[2], o[3], o[4], 1 - std::pow(o[1], step), 1 - std::pow(o[2], step), o[5] != 0, o[6] != 0};
  }
  static size_t state(const double*) { return 2; }
  static double flops(const double* o) { return o[4] != 0 ? 15 : 13; }
};

double steps_so_far(const Tensor& t) { return t.dtype() == DType::Float64 ? *t.data<double>() : *t.data<float>(); }

// Raises the number of steps, and returns it: 1 at the first step.
double count_step(const Tensor& t) {
  return t.dtype() == DType::Float64 ? *t.data<double>() += 1 : *t.data<float>() += 1;
}

// Rule's kernel on n elements; `at(list)` gives those of parameters, gradients (1) and state.
template <class Rule, class Args, class F, size_t... list>
void call_kernel(int dtype, int64_t n, const Args& args, F&& at, std::index_sequence<list...>) {
  (kernels().optim.*Rule::kernel)[dtype](n, at(list)..., &args);
}
template <class Rule, class Args, class F>
void call_kernel(int dtype, int64_t n, const Args& args, F&& at) {
  call_kernel<Rule>(dtype, n, args, at, std::make_index_sequence<2 + Rule::max_state>{});
}

template <class Rule>
void run(const Call& c, std::span<Tensor>) {
  const double* o = c.attrs.cell->values.data();
  const auto n = static_cast<size_t>(c.attrs.integer[0]);
  const size_t lists = 2 + Rule::state(o);
  if (c.in.size() < lists * n + 1)
    throw std::invalid_argument(std::string(Rule::name) +
                                ": a list of state is missing; a momentum needs momentum buffers");
  const auto args = Rule::args(o, count_step(c.in.back()));
  for_chunks(c.in.first(n), [&](size_t i, int64_t at, int64_t m) {
    call_kernel<Rule>(float_index(c.in[i]), m, args,
                      [&](size_t list) { return list < lists ? element(c.in[list * n + i], at) : nullptr; });
  });
}
template <class Rule>
double step_flops(const Call& c) {
  double sum = 0;
  for (const Tensor& p : c.in.first(static_cast<size_t>(c.attrs.integer[0]))) sum += static_cast<double>(p.numel());
  return sum * Rule::flops(c.attrs.cell->values.data());
}

// The step of one parameter, whose gradient is the product a b, part by part as the product is made; the gradient is
// not stored. Inputs: the parameter, a, b, its state, and the number of steps so far, which the step of the other
// parameters will raise. attrs.integer[0]: how many state tensors, attrs.cell the options. attrs.flag: the gradient is
// that of weight_gradient(a, b), whose sums are an input that is written, before the last.
bool writes_behind_product(const Call& c, int input) {
  return input == 0 || (input >= 3 && input < 3 + c.attrs.integer[0] + c.attrs.flag);
}
template <class Rule>
void run_behind_product(const Call& c, std::span<Tensor>) {
  const double* o = c.attrs.cell->values.data();
  const size_t lists = 2 + Rule::state(o);
  const auto args = Rule::args(o, steps_so_far(c.in.back()) + 1);
  GemmArgs product = c.attrs.flag ? weight_gradient_args(c.in[1], c.in[2], nullptr, c.in[c.in.size() - 2].data())
                                  : gemm_args(c.in[1], c.in[2], nullptr);
  const int dtype = float_index(c.in[0]);
  const auto item = static_cast<int64_t>(itemsize(c.in[0].dtype()));
  const auto update = [&](const GemmPart& part) {
    const FlushSubnormals flush;
    part.for_rows(product.n, item, [&](int64_t at, int64_t n, void* g) {
      call_kernel<Rule>(dtype, n, args, [&](size_t list) -> void* {
        return list >= lists ? nullptr : list == 0 ? element(c.in[0], at) : list == 1 ? g : element(c.in[1 + list], at);
      });
    });
  };
  product.hook = {[](const void* ctx, const GemmPart& part) { (*static_cast<decltype(&update)>(ctx))(part); }, &update};
  gemm(product);
}
template <class Rule>
double behind_product_flops(const Call& c) {
  return 2.0 * double(c.in[1].numel()) * double(c.in[2].size(1)) +
         double(c.in[0].numel()) * Rule::flops(c.attrs.cell->values.data());
}

struct Optimizer {
  Op op, behind_product;
  size_t min_state, max_state;  // lists
  size_t options;               // numbers
};
template <class Rule>
constexpr Optimizer kOptimizer = {
    {.name = Rule::name, .run = run<Rule>, .in_place = true, .writes = writes, .flops = step_flops<Rule>},
    {.name = Rule::behind_product,
     .run = run_behind_product<Rule>,
     .in_place = true,
     .writes = writes_behind_product,
     .flops = behind_product_flops<Rule>},
    Rule::min_state,
    Rule::max_state,
    Rule::options};

void check_state(const char* op, const Tensor& p, const Tensor& s, const char* what) {
  if (!is_float(s.dtype())) throw std::invalid_argument(std::string(op) + ": " + describe(s) + " is no float tensor");
  if (s.shape() == p.shape() && s.dtype() == p.dtype()) return;
  throw std::invalid_argument(std::string(op) + ": the " + what + " " + describe(s) + " does not match its parameter " +
                              describe(p));
}

void check_step(const char* op, const Tensor& t) {
  if (!t || !is_float(t.dtype()) || t.rank() != 0 || t->storage->read_only) {
    throw std::invalid_argument(std::string(op) + ": step must be a float tensor of shape (), got " +
                                (t ? describe(t) : "None"));
  }
}

void check_options(const Optimizer& optimizer, size_t lists, size_t options) {
  const auto fail = [&](const char* what, size_t count) {
    throw std::invalid_argument(std::string(optimizer.op.name) + ": got " + std::to_string(count) + what);
  };
  if (lists < optimizer.min_state || lists > optimizer.max_state) fail(" lists of state, too few or too many", lists);
  if (options != optimizer.options) fail((" options, expected " + std::to_string(optimizer.options)).c_str(), options);
}

// Checks the lists, runs the step, and raises the version of everything that was written.
void execute_step(const Optimizer& optimizer, const TensorList& params, const TensorList& grads,
                  const std::vector<TensorList>& state, const Tensor& steps, const std::shared_ptr<Cell>& options) {
  const Op& op = optimizer.op;
  if (params.empty()) return;
  options->refresh();
  check_options(optimizer, state.size(), options->values.size());
  check_step(op.name, steps);
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
  for (const Optimizer* o : {&kOptimizer<Sgd>, &kOptimizer<Adam>}) {
    if (&step == &o->op) return &o->behind_product;
  }
  return nullptr;
}

namespace ops {

#define OPTIMIZER(name, optimizer)                                                                   \
  void name(const TensorList& params, const TensorList& grads, const std::vector<TensorList>& state, \
            const Tensor& step, const std::shared_ptr<Cell>& options) {                              \
    execute_step(optimizer, params, grads, state, step, options);                                    \
  }
OPTIMIZER(sgd_step_, kOptimizer<Sgd>)
OPTIMIZER(adam_step_, kOptimizer<Adam>)

}  // namespace ops
}  // namespace tg
