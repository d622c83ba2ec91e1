// Optimizer steps over lists of tensors, in place, one pass over memory.
#include <stdexcept>

#include "kernels/kernel_table.h"
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
bool writes(const Call& c, int input) { return input / c.attrs.integer[0] != 1; }

double parameter_count(const Call& c) {
  double sum = 0;
  for (const Tensor& p : c.in.first(static_cast<size_t>(c.attrs.integer[0]))) sum += static_cast<double>(p.numel());
  return sum;
}

struct Optimizer {
  Op op;
  size_t min_state, max_state;  // lists
  size_t options;               // numbers
  constexpr Optimizer(const char* name, void (*run)(const Call&, std::span<Tensor>), size_t min, size_t max,
                      size_t numbers, double (*flops)(const Call&))
      : op{.name = name, .run = run, .in_place = true, .writes = writes, .flops = flops},
        min_state(min),
        max_state(max),
        options(numbers) {}
};

// Raises the number of steps, and returns it: 1 at the first step.
double count_step(const Call& c) {
  const Tensor& t = c.in.back();
  return t.dtype() == DType::Float64 ? *t.data<double>() += 1 : *t.data<float>() += 1;
}

// kernel[dtype](n, elements of each list..., &args) over all the parameters; null for lists from `present` on.
template <size_t... list, class Kernel, class Args>
void update(const Call& c, const Kernel* kernel, const Args& args, std::index_sequence<list...>, size_t present) {
  const auto n = static_cast<size_t>(c.attrs.integer[0]);
  for_chunks(c.in.first(n), [&](size_t i, int64_t at, int64_t m) {
    kernel[float_index(c.in[i])](m, (list < present ? element(c.in[list * n + i], at) : nullptr)..., &args);
  });
}
template <size_t lists, class Kernel, class Args>
void update(const Call& c, const Kernel* kernel, const Args& args, size_t present = lists) {
  update(c, kernel, args, std::make_index_sequence<lists>{}, present);
}

// State: with momentum, its buffer. Options: lr, momentum, dampening, weight_decay, nesterov, maximize.
void run_sgd(const Call& c, std::span<Tensor>) {
  const double* o = c.attrs.cell->values.data();
  const bool momentum = o[1] != 0;
  if (momentum && c.in.size() < 3 * static_cast<size_t>(c.attrs.integer[0]) + 1) {
    throw std::invalid_argument("sgd_step_: a momentum needs momentum buffers");
  }
  const SgdArgs args = {o[0], o[1], o[2], o[3], o[4] != 0, o[5] != 0, count_step(c) == 1};
  update<3>(c, kernels().optim.sgd, args, momentum ? 3 : 2);
}
double sgd_flops(const Call& c) {
  const double* o = c.attrs.cell->values.data();
  return parameter_count(c) * (2 + (o[1] != 0 ? 3 : 0) + (o[3] != 0 ? 2 : 0));
}
constexpr Optimizer kSgd = {"sgd_step_", run_sgd, 0, 1, 6, sgd_flops};

// State: the moments. Options: lr, betas, eps, weight_decay, decoupled_weight_decay, maximize.
void run_adam(const Call& c, std::span<Tensor>) {
  const double* o = c.attrs.cell->values.data();
  const AdamArgs args = {o[0], o[1], o[2], o[3], o[4], count_step(c), o[5] != 0, o[6] != 0};
  update<4>(c, kernels().optim.adam, args);
}
double adam_flops(const Call& c) { return parameter_count(c) * (c.attrs.cell->values[4] != 0 ? 15 : 13); }
constexpr Optimizer kAdam = {"adam_step_", run_adam, 2, 2, 7, adam_flops};

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
      if (written) ++t->storage->version;
      if (written && !t.contiguous()) write_back.emplace_back(t, in.back());
    }
  };
  add(params, "parameter", true);
  add(grads, "gradient", false);
  for (const TensorList& tensors : state) add(tensors, "state", true);
  in.push_back(steps);
  ++steps->storage->version;
  Attrs attrs;
  attrs.integer[0] = static_cast<int64_t>(params.size());
  attrs.cell = options;
  execute_in_place(op, in, attrs);
  for (const auto& [target, copy] : write_back) ops::copy_(target, copy);
}

}  // namespace

namespace ops {

#define OPTIMIZER(name, optimizer)                                                                   \
  void name(const TensorList& params, const TensorList& grads, const std::vector<TensorList>& state, \
            const Tensor& step, const std::shared_ptr<Cell>& options) {                              \
    execute_step(optimizer, params, grads, state, step, options);                                    \
  }
OPTIMIZER(sgd_step_, kSgd)
OPTIMIZER(adam_step_, kAdam)

}  // namespace ops
}  // namespace tg
